"""The heartbeat has a thread of its own: no job starves it, and it ends a worker that is stuck."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.errors import UnknownOutcome
from pipeline.ports import Attempt, JobStore, Lease, LeaseQueue
from tests.fakes.job_store import FakeJobStore
from tests.support import eventually
from tests.worker_world import WorkerWorld
from workers.attempt import Attempts
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.heartbeat import in_own_thread
from workers.options import WorkerOptions
from workers.tasks import Context
from workers.worker import Worker

SHORT = WorkerOptions("w1", ("default",), lease=timedelta(seconds=0.3))


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

    async def await_nudge(self, worker: str) -> None:
        await asyncio.Event().wait()

    async def retract_worker(self, *_: object) -> None:
        self.beats = -1


def beating_of(
    world: WorkerWorld,
    recorder: Recorder,
    give_up: Callable[[], None],
    options: WorkerOptions = SHORT,
) -> Callable[[Attempts], AbstractAsyncContextManager[None]]:
    """The heartbeat of a worker whose leases are short."""
    return in_own_thread(options, recorded(recorder), clock_of(world), SystemChance(), give_up)


async def however_often_cancelled(event: asyncio.Event) -> None:
    """Wait for it."""
    while not event.is_set():
        with suppress(asyncio.CancelledError):
            await event.wait()


async def test_a_job_that_blocks_the_whole_loop_does_not_starve_the_heartbeat() -> None:
    world, recorder = WorkerWorld(), Recorder()
    beats: list[int] = []

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        before = recorder.beats
        time.sleep(0.6)
        beats.append(recorder.beats - before)

    await world.submit(task="busy")
    beating = beating_of(world, recorder, lambda: None)
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
    gave_up, waited = threading.Event(), []

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        recorder.is_gone = why == "gone"
        waited.append(gave_up.wait(20))

    await world.submit(task="busy", timeout=0.2 if why == "timeout" else 300.0)
    beating = beating_of(world, recorder, gave_up.set)
    with capture_logs() as logs:
        async with world.running(world.worker(heartbeat=beating)):
            await eventually(lambda: waited)

    assert waited == [True]
    assert "worker.gives_up" in [log["event"] for log in logs]


async def test_a_job_that_answers_its_release_by_blocking_the_loop_does_not_keep_its_worker() -> (
    None
):
    """Its time is not over; but no signal reaches a worker whose loop is blocked."""
    world = WorkerWorld()
    options = WorkerOptions("w1", ("default",), lease=timedelta(seconds=0.3), drain=timedelta())
    gave_up, has_begun, waited = threading.Event(), asyncio.Event(), []

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            waited.append(gave_up.wait(20))

    await world.submit(task="busy")
    clock, chance = StoreClock(), SystemChance()
    beating = in_own_thread(options, recorded(Recorder()), clock, chance, gave_up.set)
    executors = Executors(TaskExecutor(world.registry, threads=1))
    worker = Worker(options, world.store, world.queue, clock, chance, executors, beating)
    running = asyncio.ensure_future(worker.run())
    await has_begun.wait()
    worker.stop()
    await running

    assert waited == [True]


async def test_a_coroutine_that_runs_on_and_blocks_the_loop_does_not_keep_its_worker() -> None:
    """Its attempt is recorded, nothing is leased any more, and nobody else would notice."""
    world = WorkerWorld()
    gave_up, is_recorded, waited = threading.Event(), asyncio.Event(), []

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        await however_often_cancelled(is_recorded)
        waited.append(gave_up.wait(20))

    await world.submit(task="busy", timeout=0.05)
    beating = beating_of(world, Recorder(), gave_up.set)
    worker = world.worker(heartbeat=beating)
    async with world.running(worker):
        await world.until(lambda: world.store.records)
        await world.let_run()
        is_recorded.set()
        await eventually(lambda: waited)

    assert waited == [True]


async def test_a_coroutine_that_ran_on_and_has_returned_is_no_reason_to_give_up() -> None:
    world = WorkerWorld()
    may_return, returned, waited = asyncio.Event(), asyncio.Event(), []

    @world.registry.task("stubborn")
    async def stubborn(payload: Any, context: Context) -> None:
        await however_often_cancelled(may_return)
        returned.set()

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        waited.append(threading.Event().wait(1))

    await world.submit(task="stubborn", timeout=0.05)
    beating = beating_of(world, Recorder(), never)
    async with world.running(world.worker(heartbeat=beating)):
        await eventually(lambda: world.store.records)
        may_return.set()
        await returned.wait()
        await world.submit(task="busy")
        await eventually(lambda: waited)


async def test_a_thread_that_runs_on_blocks_no_loop_and_is_no_reason_to_give_up() -> None:
    world = WorkerWorld()
    gate, waited = threading.Event(), []

    @world.registry.task("stubborn")
    def stubborn(payload: Any, context: Context) -> None:
        gate.wait(20)

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        waited.append(threading.Event().wait(1))

    await world.submit(task="stubborn", timeout=0.05)
    beating = beating_of(world, Recorder(), never)
    async with world.running(world.worker(heartbeat=beating)):
        await eventually(lambda: world.store.records)
        await world.submit(task="busy")
        await eventually(lambda: waited)
        gate.set()


async def test_a_result_that_waits_for_mongodb_is_no_reason_to_give_up() -> None:
    class NoRecords(FakeJobStore):
        async def record(self, executions: Sequence[Any]) -> Sequence[Any]:
            raise UnknownOutcome("MongoDB", "no answer")

    world = WorkerWorld()
    world.store.__class__ = NoRecords
    waited: list[bool] = []

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        waited.append(threading.Event().wait(1))

    await world.submit(timeout=0.05)
    beating = beating_of(world, Recorder(), never)
    async with world.running(world.worker(heartbeat=beating)):
        await eventually(lambda: world.starts)
        await world.submit(task="busy")
        await eventually(lambda: waited)
        world.store.__class__ = FakeJobStore


async def test_a_job_that_blocks_the_loop_in_its_time_may_go_on() -> None:
    world, recorder = WorkerWorld(), Recorder()
    options = WorkerOptions("w1", ("default",), lease=timedelta(seconds=1))
    waited: list[bool] = []

    @world.registry.task("busy")
    async def busy(payload: Any, context: Context) -> None:
        waited.append(threading.Event().wait(2.2))

    await world.submit(task="busy")
    beating = beating_of(world, recorder, never, options)
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
