"""The heartbeat confirms in MongoDB, writes into Redis, and stops what is not ours (R8)."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.execution import Cancelled, ErrorInfo, Lost, Outcome, conclude
from pipeline.domain.states import State
from pipeline.ports import Attempt, JobStore, Lease, LeaseQueue
from tests.fakes.job_store import FakeJobStore
from tests.support import eventually
from tests.worker_world import LEASE, WorkerWorld
from workers.heartbeat import in_own_thread
from workers.options import WorkerOptions
from workers.tasks import Context
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


# -- the thread


class Recorder:
    """Stands for both ports and notes in which thread it was asked."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.beats = 0
        self.is_gone = False

    async def running(self, attempts: Sequence[Attempt]) -> frozenset[Attempt]:
        self.threads.add(threading.current_thread().name)
        self.beats += 1
        return frozenset() if self.is_gone else frozenset(attempts)

    async def ack(self, leases: Sequence[Lease]) -> None:
        self.threads.add(threading.current_thread().name)

    async def extend(self, leases: Sequence[Lease], ttl: timedelta) -> None:
        self.threads.add(threading.current_thread().name)

    async def announce_worker(self, *_: object) -> None:
        self.threads.add(threading.current_thread().name)

    async def retract_worker(self, *_: object) -> None:
        self.beats = -1


async def test_a_job_that_blocks_the_whole_loop_does_not_starve_the_heartbeat() -> None:
    world, recorder = WorkerWorld(), Recorder()
    options = WorkerOptions("w1", ("default",), lease=timedelta(seconds=0.3))
    beats: list[int] = []

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        before = recorder.beats
        time.sleep(0.6)
        beats.append(recorder.beats - before)

    await world.submit(task="busy")
    beating = in_own_thread(
        options, recorded(recorder), clock_of(world), SystemChance(), lambda: None
    )
    async with world.running(world.worker(heartbeat=beating)):
        await eventually(lambda: beats)

    assert beats[0] >= 1  # beside the jobs it would have been none
    assert recorder.threads == {"heartbeat"}
    assert recorder.beats == -1  # it said goodbye


async def test_a_worker_whose_heartbeat_dies_does_not_go_on() -> None:
    world = WorkerWorld()
    options = WorkerOptions("w1", ("default",))

    class BrokenClock(StoreClock):
        async def sleep(self, seconds: float) -> None:
            raise RuntimeError("no time")

    beating = in_own_thread(options, recorded(Recorder()), BrokenClock(), SystemChance(), never)
    hooked, threading.excepthook = threading.excepthook, lambda _: None
    try:
        with pytest.raises(BaseExceptionGroup):
            await asyncio.wait_for(world.worker(heartbeat=beating).run(), 5)
    finally:
        threading.excepthook = hooked


@pytest.mark.parametrize("why", ["timeout", "gone"])
async def test_a_worker_whose_loop_a_job_blocks_past_its_time_gives_up(why: str) -> None:
    """Neither its timeout nor a cancel reaches it, and the leases of its neighbours, which stand
    still, would be extended for ever."""
    world, recorder = WorkerWorld(), Recorder()
    options = WorkerOptions("w1", ("default",), lease=timedelta(seconds=0.3))
    gave_up, waited = threading.Event(), []

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        recorder.is_gone = why == "gone"
        waited.append(gave_up.wait(20))

    await world.submit(task="busy", timeout=0.2 if why == "timeout" else 300.0)
    beating = in_own_thread(
        options, recorded(recorder), clock_of(world), SystemChance(), gave_up.set
    )
    with capture_logs() as logs:
        async with world.running(world.worker(heartbeat=beating)):
            await eventually(lambda: waited)

    assert waited == [True]
    assert "worker.gives_up" in [log["event"] for log in logs]


async def test_a_job_that_blocks_the_loop_in_its_time_may_go_on() -> None:
    world, recorder = WorkerWorld(), Recorder()
    options = WorkerOptions("w1", ("default",), lease=timedelta(seconds=1))
    waited: list[bool] = []

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        waited.append(threading.Event().wait(2.2))

    await world.submit(task="busy")
    beating = in_own_thread(options, recorded(recorder), clock_of(world), SystemChance(), never)
    async with world.running(world.worker(heartbeat=beating)):
        await eventually(lambda: waited)


def clock_of(world: WorkerWorld) -> StoreClock:
    """Of worker and heartbeat: they reckon by the same one."""
    clock = StoreClock()
    world.clock.monotonic = clock.monotonic  # type: ignore[method-assign]
    return clock


def never() -> None:
    raise AssertionError("there is no reason to give up")


def recorded(recorder: Recorder) -> Any:
    @asynccontextmanager
    async def ports() -> AsyncIterator[tuple[JobStore, LeaseQueue]]:
        yield recorder, recorder  # type: ignore[misc]

    return ports
