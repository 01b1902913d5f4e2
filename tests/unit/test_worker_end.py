"""What a worker has run it records, settles and acknowledges, in this order (R6, R7)."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.domain.errors import Flaw, Rejected, Unavailable
from pipeline.domain.execution import ErrorInfo, Execution, Lost, Outcome, conclude
from pipeline.domain.states import State
from tests.fakes.job_store import FakeJobStore
from tests.worker_world import WorkerWorld
from workers.tasks import Context


@pytest.fixture
def world() -> WorkerWorld:
    return WorkerWorld()


async def test_a_result_that_comes_after_the_reaper_is_refused(world: WorkerWorld) -> None:
    """A pause past the lease: somebody recorded `lost`; that stands, whatever we have."""
    job_id = await world.submit(task="gated", retry={"jitter": "none"})
    async with world.running(world.worker()):
        await world.until(lambda: world.starts)
        job = world.job(job_id)
        lost = conclude(job, Lost(ErrorInfo("lost", "")), finished_at=world.clock.now(), lot=0.0)
        await world.store.settle(await world.store.record([lost]))

        world.open_gates()
        await world.let_run()

    assert world.outcome(job_id) is Outcome.LOST
    assert world.state(job_id) is State.PENDING
    assert world.job(job_id).losses == 1


async def test_a_result_outlives_an_outage_of_mongodb_that_is_longer_than_the_lease(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit(task="gated", payload="kept")
    async with world.running(world.worker()):
        await world.until(lambda: world.starts)
        world.store.down = True
        world.open_gates()
        await world.clock.run(100)
        assert world.state(job_id) is State.RUNNING

        world.store.down = False
        await world.clock.run(3)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.record(job_id).result == "kept"


@pytest.mark.parametrize("step", ["record", "settle"])
@pytest.mark.parametrize("applied", [True, False])
async def test_an_unknown_end_is_repeated_and_recorded_once(
    world: WorkerWorld, step: str, applied: bool
) -> None:
    job_id = await world.submit(payload=7)
    world.store.fail(step, applied=applied)

    async with world.running(world.worker()):
        await world.clock.run(1)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.record(job_id).result == 7
    assert world.starts == [(job_id, 1)]


async def test_redis_hears_of_an_end_only_after_it_is_settled(world: WorkerWorld) -> None:
    job_id = await world.submit()
    world.store.fail("settle", applied=False)

    async with world.running(world.worker()):
        await world.until(lambda: world.store.records)
        await world.let_run()
        assert world.state(job_id) is State.RUNNING
        assert world.leased() == {job_id}

        await world.clock.run(1)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)


class PickyStore(FakeJobStore):
    """Cannot encode one certain result."""

    async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
        if any(execution.result == "bad" for execution in executions):
            raise ValueError("cannot be encoded")
        return await super().record(executions)


async def test_one_record_that_cannot_be_written_spares_its_neighbours(world: WorkerWorld) -> None:
    world.store.__class__ = PickyStore
    bad = await world.submit(task="gated", payload="bad")
    good = [await world.submit(task="gated", payload=n) for n in range(5)]

    with capture_logs() as logs:
        async with world.running(world.worker()):
            await world.until(lambda: len(world.starts) == 6)
            world.open_gates()
            await world.until(lambda: all(world.state(id) is State.SUCCEEDED for id in good))

    assert [log["execution"] for log in logs if "execution" in log] == [f"{bad}/1"]
    assert world.state(bad) is State.RUNNING  # until its lease has run out
    assert world.leased() == {bad}


async def test_results_that_cannot_be_written_stop_the_leasing_before_memory_is_full(
    world: WorkerWorld,
) -> None:
    for _ in range(100):
        await world.submit(payload="x")

    class NoRecords(FakeJobStore):
        async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
            raise Unavailable("MongoDB", "no primary")

    world.store.__class__ = NoRecords
    async with world.running(world.worker(concurrency=5, backlog=10)):
        await world.clock.run(20)
        assert len(world.starts) == 15

        world.store.__class__ = FakeJobStore
        await world.clock.run(20)
        await world.until(lambda: len(world.starts) == 100)


async def test_a_job_that_takes_longer_than_its_timeout_is_stopped_and_tried_again(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit(task="gated", timeout=0.01)

    async with world.running(world.worker()):
        await world.until(lambda: world.state(job_id) is State.PENDING)

    assert world.stopped == [job_id]
    assert world.outcome(job_id) is Outcome.TIMED_OUT
    assert world.job(job_id).failures == 1


async def test_a_plain_function_past_its_timeout_keeps_its_slot_until_it_returns(
    world: WorkerWorld,
) -> None:
    gate = threading.Event()

    @world.registry.task("stubborn")
    def stubborn(payload: Any, context: Context) -> None:
        gate.wait(5)

    first = await world.submit(task="stubborn", timeout=0.01)
    with capture_logs() as logs:
        async with world.running(world.worker(concurrency=1)):
            await world.until(lambda: world.state(first) is State.PENDING)
            second = await world.submit()
            await world.let_run()
            assert world.state(second) is State.QUEUED

            gate.set()
            await world.until(lambda: world.state(second) is State.SUCCEEDED)
    assert "code.runs_on" in [log["event"] for log in logs]


async def test_a_coroutine_that_will_not_be_cancelled_is_recorded_and_keeps_its_slot(
    world: WorkerWorld,
) -> None:
    gate = asyncio.Event()

    @world.registry.task("stubborn")
    async def stubborn(payload: Any, context: Context) -> None:
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await gate.wait()

    first = await world.submit(task="stubborn", timeout=0.01)
    async with world.running(world.worker(concurrency=1)):
        await world.until(lambda: world.state(first) is State.PENDING)
        assert world.outcome(first) is Outcome.TIMED_OUT
        second = await world.submit()
        await world.let_run()
        assert world.state(second) is State.QUEUED

        gate.set()
        await world.until(lambda: world.state(second) is State.SUCCEEDED)


async def test_a_record_that_can_never_be_written_hurts_no_other(world: WorkerWorld) -> None:
    """Repeated for ever it would hold up all that ended beside it, and the drain."""

    class Picky(FakeJobStore):
        async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
            if any(execution.result == "bad" for execution in executions):
                raise Rejected("invalid", Flaw("", "MongoDB takes no such record"))
            return await super().record(executions)

    world.store.__class__ = Picky
    bad, *good = [await world.submit(payload=payload) for payload in ("bad", "a", "b")]
    async with world.running(world.worker()):
        await world.until(lambda: all(world.state(each) is State.SUCCEEDED for each in good))
    assert world.state(bad) is State.RUNNING  # the reaper's
