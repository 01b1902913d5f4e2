"""A worker pulls what is due, as much as it can run, and gets up when there is more (R5)."""

from datetime import timedelta
from typing import Any

import pytest

from pipeline.domain.states import State
from tests.worker_world import WorkerWorld


@pytest.fixture
def world() -> WorkerWorld:
    return WorkerWorld()


async def test_a_job_that_is_due_is_run_recorded_settled_and_acknowledged(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit(payload={"n": 1})

    async with world.running(world.worker()):
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.starts == [(job_id, 1)]
    assert world.record(job_id).result == {"n": 1}
    assert world.record(job_id).worker == "w1"
    assert world.leased() == set()


async def test_an_idle_worker_is_woken_by_a_push_without_any_time_passing(
    world: WorkerWorld,
) -> None:
    async with world.running(world.worker()):
        job_id = await world.submit(payload=1)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.clock.monotonic() == 0


async def test_a_delayed_job_starts_when_it_is_due_and_never_before(world: WorkerWorld) -> None:
    async with world.running(world.worker()):
        job_id = await world.submit(delay=1.5)
        await world.clock.run(1.499)
        assert world.starts == []

        await world.clock.run(0.001)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.record(job_id).started_at == world.job(job_id).due_at


async def test_who_came_for_a_due_job_in_vain_wakes_a_little_later_than_the_next_is_due(
    world: WorkerWorld,
) -> None:
    async with world.running(world.worker()):
        first = await world.submit(delay=1.0)
        second = await world.submit(delay=2.0)
        await world.let_run()
        del world.queue.part("default").delayed[first]  # another worker was faster
        await world.clock.run(2.0)
        assert world.starts == []

        await world.clock.run(0.001)
        await world.until(lambda: world.state(second) is State.SUCCEEDED)


async def test_a_worker_that_looks_too_early_by_the_clock_of_redis_waits_again(
    world: WorkerWorld,
) -> None:
    async with world.running(world.worker()):
        job_id = await world.submit(delay=1.0)
        await world.let_run()
        world.clock.set_now(world.clock.now() - timedelta(seconds=0.5))

        await world.clock.run(1.01)
        assert world.starts == []

        await world.clock.run(0.5)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)


async def test_an_idle_worker_does_not_spin(world: WorkerWorld) -> None:
    calls = 0
    lease = world.queue.lease

    async def counted(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        return await lease(*args, **named)

    world.queue.lease = counted  # type: ignore[method-assign]
    async with world.running(world.worker()):
        await world.submit(delay=100.0)
        await world.clock.run(60)

    assert calls <= 60 / 5 + 3 + 2  # a poll every 5-10 s, the standing read every 20


async def test_a_lost_wakeup_costs_at_most_one_poll(world: WorkerWorld) -> None:
    async with world.running(world.worker()):
        job_id = await world.store_only()
        other = await world.submit(queue="elsewhere")  # nobody of ours is woken by this
        part, hidden = world.queue.part("default"), world.queue.part("elsewhere").ready.pop(other)
        part.ready[job_id] = hidden

        await world.clock.run(10.1)

        assert world.state(job_id) is State.SUCCEEDED


async def test_never_more_is_leased_than_can_run(world: WorkerWorld) -> None:
    for _ in range(10):
        await world.submit(task="gated")

    async with world.running(world.worker(concurrency=3)):
        await world.until(lambda: len(world.starts) == 3)
        await world.let_run()
        assert len(world.leased()) == 3
        assert len(world.queue.part("default").ready) == 7


async def test_a_freed_slot_takes_the_next_job(world: WorkerWorld) -> None:
    ids = [await world.submit(payload=n) for n in range(25)]

    async with world.running(world.worker(concurrency=2)):
        await world.until(lambda: all(world.state(id) is State.SUCCEEDED for id in ids))

    assert sorted(world.starts) == sorted((id, 1) for id in ids)


async def test_a_wakeup_taken_by_a_full_worker_is_passed_on_to_an_idle_one(
    world: WorkerWorld,
) -> None:
    """Its read stood from before it was full, and was first in the line."""
    async with world.running(world.worker(id="full", concurrency=1)):
        await world.submit(task="gated")
        await world.until(lambda: len(world.starts) == 1)
        assert world.queue.sleeping("default") == 1

        async with world.running(world.worker(id="idle", concurrency=1)):
            second = await world.submit(task="gated")
            await world.until(lambda: len(world.starts) == 2)

            assert world.job(second).worker == "idle"
            assert world.clock.monotonic() == 0


async def test_a_full_worker_does_not_eat_a_wakeup_that_comes_later(world: WorkerWorld) -> None:
    await world.submit(task="gated")
    async with world.running(world.worker(concurrency=1)):
        await world.until(lambda: len(world.starts) == 1)
        await world.submit(task="gated")
        await world.let_run()

        assert world.queue.has_token("default")
        assert world.queue.sleeping("default") == 0


async def test_a_worker_that_goes_leaves_no_wakeup_eaten(world: WorkerWorld) -> None:
    """A cancelled blocking read may have taken one; somebody else looks once too often instead."""
    async with world.running(world.worker()):
        pass
    assert world.queue.has_token("default")


async def test_a_long_queue_does_not_starve_another_one(world: WorkerWorld) -> None:
    for _ in range(200):
        await world.submit(queue="long")
    shorts = [await world.submit(queue="short") for _ in range(10)]
    async with world.running(world.worker(queues=("long", "short"), concurrency=4)):
        await world.until(lambda: len(world.starts) == 210)

    assert max(world.starts.index((id, 1)) for id in shorts) < 50


async def test_a_paused_queue_is_left_alone_until_it_is_resumed(world: WorkerWorld) -> None:
    await world.queue.pause("default")
    job_id = await world.submit()

    async with world.running(world.worker()):
        await world.clock.run(30)
        assert world.starts == []
        await world.queue.resume("default")
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)


async def test_a_job_that_was_cancelled_while_it_waited_takes_no_token(world: WorkerWorld) -> None:
    limits = {"key": "customer-7", "rate": {"count": 1, "per": 3600}}
    cancelled = [await world.submit(task="echo", limits=limits) for _ in range(3)]
    wanted = await world.submit(task="echo", limits=limits)
    for job_id in cancelled:
        await world.store.cancel_waiting(job_id)
    async with world.running(world.worker()):
        await world.until(lambda: world.state(wanted) is State.SUCCEEDED)
    assert {world.state(job_id) for job_id in cancelled} == {State.CANCELLED}


async def test_a_worker_gets_up_for_the_next_token(world: WorkerWorld) -> None:
    limits = {"key": "customer-7", "rate": {"count": 1, "per": 3}}
    job_ids = [await world.submit(task="echo", limits=limits) for _ in range(3)]
    async with world.running(world.worker()):
        await world.clock.run(6.5)
        assert {world.state(job_id) for job_id in job_ids} == {State.SUCCEEDED}


async def test_a_worker_gets_up_when_a_job_of_its_key_has_ended(world: WorkerWorld) -> None:
    limits = {"key": "customer-7", "concurrency": 1}
    first = await world.submit(task="gated", limits=limits)
    second = await world.submit(task="echo", limits=limits)
    async with world.running(world.worker()):
        await world.until(lambda: world.starts == [(first, 1)])
        assert world.state(second) is State.QUEUED
        world.open_gates()
        await world.until(lambda: world.state(second) is State.SUCCEEDED)
