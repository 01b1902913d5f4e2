"""A worker that is told to stop leaves nothing running, nothing leased and nothing unsettled."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from pipeline.domain.execution import Outcome
from pipeline.domain.states import State
from tests.worker_world import WorkerWorld
from workers.tasks import Context


@pytest.fixture
def world() -> WorkerWorld:
    return WorkerWorld()


async def test_a_stopping_worker_leases_nothing_and_waits_for_what_runs(world: WorkerWorld) -> None:
    running = await world.submit(task="gated")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        worker.stop()
        await world.let_run()
        late = await world.submit()
        await world.clock.run(5)
        assert not run.done()

        world.open_gates()
        await world.until(run.done)

    assert world.state(running) is State.SUCCEEDED
    assert world.state(late) is State.QUEUED
    assert world.leased() == set()


async def test_what_still_runs_after_the_drain_is_released_and_another_worker_starts_it_at_once(
    world: WorkerWorld,
) -> None:
    """H14, H23: back to pending, due now, and it counts as nothing."""
    job_id = await world.submit(task="gated")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        worker.stop()
        await world.clock.run(10.1)
        await world.until(run.done)

    assert world.stopped == [job_id]
    assert world.outcome(job_id) is Outcome.RELEASED
    job = world.job(job_id)
    assert (job.state, job.failures, job.losses) == (State.PENDING, 0, 0)
    assert job.due_at <= world.clock.now()
    assert world.leased() == set()

    world.open_gates()
    await world.dispatch()
    async with world.running(world.worker(id="w2")):
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)
    assert world.starts == [(job_id, 1), (job_id, 2)]


async def test_a_released_job_that_may_run_only_once_is_lost_and_dead(world: WorkerWorld) -> None:
    """H6: at most once is not kept by running it again."""
    job_id = await world.submit(task="gated", on_lost="dead")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        worker.stop()
        await world.clock.run(10.1)
        await world.until(run.done)

    assert world.outcome(job_id) is Outcome.LOST
    assert (world.state(job_id), world.job(job_id).reason) == (State.DEAD, "lost")


async def test_code_that_answers_its_being_stopped_with_a_result_is_released_all_the_same(
    world: WorkerWorld,
) -> None:
    @world.registry.task("polite")
    async def polite(payload: Any, context: Context) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "half done"

    job_id = await world.submit(task="polite")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.state(job_id) is State.RUNNING)
        worker.stop()
        await world.clock.run(10.1)
        await world.until(run.done)

    assert world.outcome(job_id) is Outcome.RELEASED


async def test_what_is_leased_and_not_started_when_the_stop_comes_is_given_back(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit()
    worker = world.worker()
    lease = world.queue.lease

    async def stopped_meanwhile(*args: Any, **named: Any) -> Any:
        grant = await lease(*args, **named)
        worker.stop()
        await world.let_run()
        return grant

    world.queue.lease = stopped_meanwhile  # type: ignore[method-assign]
    async with world.running(worker):
        pass

    assert world.starts == []
    assert world.state(job_id) is State.QUEUED
    assert set(world.queue.part("default").ready) == {job_id}
    assert world.leased() == set()


async def test_everything_is_settled_before_the_worker_is_gone(world: WorkerWorld) -> None:
    job_id = await world.submit(task="gated")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        world.store.down = True
        world.open_gates()
        worker.stop()
        await world.clock.run(15)
        assert not run.done()

        world.store.down = False
        await world.clock.run(3)
        await world.until(run.done)

    assert world.state(job_id) is State.SUCCEEDED


async def test_cancelled_while_it_drains_it_waits_for_nothing(world: WorkerWorld) -> None:
    """A second signal: what it holds is the reaper's."""
    job_id = await world.submit(task="gated")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        worker.stop()
        await world.let_run()
        run.cancel()
        await world.until(run.done)

    assert world.stopped == [job_id]
    assert world.state(job_id) is State.RUNNING  # the reaper's
