"""A worker on the fakes, with all time in the test's hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from pipeline.domain.execution import Execution, Outcome
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import JobStore, LeaseQueue
from tests.builders import a_submission
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.job_store import FakeJobStore
from tests.fakes.lease_queue import FakeLeaseQueue
from tests.support import eventually
from workers.attempt import Attempts
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.heartbeat import Pulse
from workers.options import WorkerOptions
from workers.tasks import Context, Registry, echo
from workers.worker import Heartbeat, Worker

LEASE = timedelta(seconds=30)


class WorkerWorld:
    """The stores, and tasks whose every start is written down.

    `gated` waits until `open_gates`; `echo` returns at once.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.chance = SeededChance(1)
        self.store = FakeJobStore(self.clock)
        self.queue = FakeLeaseQueue(self.clock)
        self.registry = Registry()
        self.starts: list[tuple[str, int]] = []
        self.stopped: list[str] = []
        self.gates = asyncio.Event()
        self.registry.task("echo")(self._echo)
        self.registry.task("gated")(self._gated)

    async def _echo(self, payload: Any, context: Context) -> Any:
        self.starts.append((context.job_id, context.attempt))
        return await echo(payload, context)

    async def _gated(self, payload: Any, context: Context) -> Any:
        self.starts.append((context.job_id, context.attempt))
        try:
            await self.gates.wait()
        except asyncio.CancelledError:
            self.stopped.append(context.job_id)
            raise
        return payload

    def open_gates(self) -> None:
        """Let every `gated` job return."""
        self.gates.set()

    def worker(
        self,
        *,
        id: str = "w1",
        queues: Sequence[str] = ("default",),
        concurrency: int = 10,
        backlog: int = 1000,
        heartbeat: Heartbeat | None = None,
    ) -> Worker:
        """A worker without a heartbeat, unless one is given."""
        options = WorkerOptions(id, queues, concurrency, LEASE, backlog=backlog)
        return Worker(
            options,
            self.store,
            self.queue,
            self.clock,
            self.chance,
            Executors(TaskExecutor(self.registry, threads=2)),
            heartbeat or no_heartbeat,
        )

    def heartbeat(self, id: str = "w1") -> Callable[[Attempts], AbstractAsyncContextManager[None]]:
        """One that beats beside the jobs, by the test's clock."""

        @asynccontextmanager
        async def ports() -> AsyncIterator[tuple[JobStore, LeaseQueue]]:
            yield self.store, self.queue

        options = WorkerOptions(id, ("default",), 10, LEASE)

        @asynccontextmanager
        async def beating(attempts: Attempts) -> AsyncIterator[None]:
            async with asyncio.TaskGroup() as group:
                pulse = Pulse(options, attempts, ports, self.clock, self.chance, _never)
                beats = group.create_task(pulse.run())
                yield
                beats.cancel()

        return beating

    @asynccontextmanager
    async def running(self, worker: Worker) -> AsyncIterator[Worker]:
        """The worker runs inside, and drains at the end."""
        async with asyncio.TaskGroup() as group:
            run = group.create_task(worker.run())
            await self.let_run()
            yield worker
            self.open_gates()
            worker.stop()
            await self.let_run()
            for _ in range(60):
                if not run.done():
                    await self.clock.run(1)

    async def submit(self, *, delay: float = 0.0, **body: Any) -> str:
        """A job that is `queued` in MongoDB and in Redis, due after `delay`; its id."""
        job_id = await self.store_only(delay=delay, **body)
        await self.queue.add([self.store.jobs[job_id].entry])
        return job_id

    async def store_only(self, *, delay: float = 0.0, **body: Any) -> str:
        """The same without Redis."""
        asked = body | ({"delay": delay} if delay else {})
        submission = a_submission(at=self.clock.now(), **asked)
        await self.store.insert([submission], self.clock.now() + timedelta(seconds=delay))
        return submission.id

    async def dispatch(self) -> None:
        """What a dispatcher does."""
        await self.queue.add(await self.store.dispatch(timedelta(seconds=2), 100))

    def job(self, job_id: str) -> Job:
        """As MongoDB has it."""
        return self.store.jobs[job_id]

    def state(self, job_id: str) -> State:
        """Where it is."""
        return self.store.jobs[job_id].state

    def record(self, job_id: str, attempt: int = 1) -> Execution:
        """The record of that attempt; KeyError if there is none."""
        return self.store.records[f"{job_id}/{attempt}"]

    def outcome(self, job_id: str, attempt: int = 1) -> Outcome:
        """How that attempt ended."""
        return self.record(job_id, attempt).outcome

    def leased(self, queue: str = "default") -> set[str]:
        """The members of `leased`."""
        return set(self.queue.part(queue).leased)

    async def until(self, is_true: Callable[[], object]) -> None:
        """Let everybody run until it is so; time stands still."""
        await eventually(is_true, timeout=30, every=0)

    async def let_run(self) -> None:
        """Let everybody do what they can do now."""
        for _ in range(50):
            await asyncio.sleep(0)


def _never() -> None:
    raise AssertionError("its loop is the one it beats in, and not blocked")


@asynccontextmanager
async def no_heartbeat(attempts: Attempts) -> AsyncIterator[None]:
    """Nothing is confirmed, nothing is stopped."""
    yield
