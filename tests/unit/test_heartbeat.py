"""The heartbeat confirms in MongoDB, writes into Redis, and stops what is not ours (R8)."""

from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.execution import Cancelled, ErrorInfo, Lost, Outcome, conclude
from pipeline.domain.states import State
from pipeline.ports import Lease
from tests.fakes.job_store import FakeJobStore
from tests.worker_world import LEASE, WorkerWorld
from workers.worker import Worker


@pytest.fixture
def world() -> WorkerWorld:
    return WorkerWorld()


def a_worker(world: WorkerWorld) -> Worker:
    return world.worker(heartbeat=world.heartbeat())


async def test_a_job_that_runs_longer_than_a_lease_keeps_it(world: WorkerWorld) -> None:
    job_id = await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        for _ in range(100):
            await world.clock.run(1)
            assert not await world.queue.expired("default", 10)
        world.open_gates()
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.starts == [(job_id, 1)]


async def test_a_second_lease_of_a_running_job_is_healed_and_the_job_goes_on(
    world: WorkerWorld,
) -> None:
    """H20: the reconciler adds beside ingest's add; another worker leases the second member and
    overwrites the lease of a healthy worker. Its start is refused; the first one must not stop."""
    job_id = await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        ours = world.queue.part("default").keys[job_id].owner
        await world.queue.extend([Lease(job_id, "default", "w2", "second lease")], LEASE)

        await world.clock.run(10.1)

        assert world.queue.part("default").keys[job_id].owner == ours
        assert world.stopped == []


async def test_a_wiped_redis_gets_its_leases_back(world: WorkerWorld) -> None:
    job_id = await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        world.queue.wipe()
        await world.clock.run(10.1)

        assert world.leased() == {job_id}
        assert world.stopped == []


async def test_a_wiped_redis_learns_again_what_limit_keys_hold(world: WorkerWorld) -> None:
    limits = {"key": "customer-7", "concurrency": 1}
    await world.submit(task="gated", limits=limits)
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        world.queue.wipe()
        await world.clock.run(11)
        await world.submit(task="gated", limits=limits)
        await world.clock.run(11)
        (key,) = await world.queue.full_keys("default", 9)
        assert (key.key, key.running, key.waiting) == ("customer-7", 1, 1)
        assert len(world.starts) == 1


async def test_a_cancelled_job_is_stopped_within_a_third_of_the_lease(world: WorkerWorld) -> None:
    job_id = await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        await world.clock.run(1)
        cancelled = conclude(world.job(job_id), Cancelled(), finished_at=world.clock.now(), lot=0)
        await world.store.settle(await world.store.record([cancelled]))

        await world.clock.run(10.1)

        assert world.stopped == [job_id]
        assert world.leased() == set()
    assert world.state(job_id) is State.CANCELLED
    assert world.outcome(job_id) is Outcome.CANCELLED


async def test_a_worker_that_is_nudged_stops_a_cancelled_job_at_once(world: WorkerWorld) -> None:
    job_id = await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        await world.clock.run(1)
        cancelled = conclude(world.job(job_id), Cancelled(), finished_at=world.clock.now(), lot=0)
        await world.store.settle(await world.store.record([cancelled]))
        worker = world.job(job_id).worker
        assert worker is not None
        await world.queue.nudge(worker)

        await world.clock.run(0.1)

        assert world.stopped == [job_id]


async def test_an_attempt_that_was_reaped_is_stopped_and_records_nothing(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        lost = conclude(
            world.job(job_id), Lost(ErrorInfo("lost", "")), finished_at=world.clock.now(), lot=0
        )
        await world.store.settle(await world.store.record([lost]))
        await world.clock.run(10.1)

        assert world.stopped == [job_id]
    assert world.outcome(job_id) is Outcome.LOST
    assert len(world.store.records) == 1


@pytest.mark.parametrize("server", ["MongoDB", "Redis"])
async def test_what_cannot_be_confirmed_for_a_lease_is_stopped_before_it_has_run_out(
    world: WorkerWorld, server: str
) -> None:
    job_id = await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        if server == "MongoDB":
            world.store.down = True
        else:
            world.queue.go_down()

        await world.clock.run(26.9)
        assert world.stopped == []
        await world.clock.run(2)
        assert world.stopped == [job_id]
        world.store.down = False
        world.queue.come_back()
    assert world.store.records == {}  # the reaper's


async def test_an_outage_shorter_than_the_lease_stops_nothing(world: WorkerWorld) -> None:
    await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        world.store.down = True
        await world.clock.run(25)
        world.store.down = False
        await world.clock.run(60)

        assert world.stopped == []
        assert not await world.queue.expired("default", 10)


async def test_a_result_that_waits_for_mongodb_keeps_its_lease(world: WorkerWorld) -> None:
    """Reaped while it waits, the finished job would run again."""

    class NoRecords(FakeJobStore):
        async def record(self, executions: Sequence[Any]) -> Sequence[Any]:
            raise UnknownOutcome("MongoDB", "no answer")

    job_id = await world.submit(payload=1)
    world.store.__class__ = NoRecords
    async with world.running(a_worker(world)):
        for _ in range(60):
            await world.clock.run(1)
            assert not await world.queue.expired("default", 10)
        world.store.__class__ = FakeJobStore
        await world.clock.run(3)

    assert world.state(job_id) is State.SUCCEEDED


async def test_a_failed_beat_is_repeated_soon_and_not_at_the_next_one(world: WorkerWorld) -> None:
    await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        world.queue.fail_next("extend", Unavailable, applied=False)
        await world.clock.run(10.2)
        world.queue.wipe()
        await world.clock.run(0.1)
        before = world.leased()
        await world.clock.run(10.2)

        assert before == set()
        assert len(world.leased()) == 1


async def test_a_worker_is_announced_while_it_lives(world: WorkerWorld) -> None:
    await world.submit(task="gated")
    async with world.running(a_worker(world)):
        await world.until(lambda: world.starts)
        await world.clock.run(120)
        (view,) = await world.queue.workers()
        assert (view.id, view.running, view.concurrency) == ("w1", 1, 10)

    assert await world.queue.workers() == []
