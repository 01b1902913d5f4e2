"""A worker: lease loops, running attempts, the finisher and the heartbeat, and how they stop.

`run` returns when `stop` was called and everything is settled: running code was waited for, then
given back. A worker that is killed instead leaves leases that run out; the reaper does the rest.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from pipeline.ports import Chance, Clock, JobStore, LeaseQueue
from pipeline.telemetry import RUNNING, log
from workers.attempt import Attempts
from workers.bell import Bell
from workers.executors.executors import Executors
from workers.finisher import Finisher
from workers.lease_loop import LeaseLoop
from workers.options import Ports, WorkerOptions
from workers.slots import Slots

_STOPPED_CODE = 6.0
"""Seconds for stopped code to end: a command gets TERM and, after a while, KILL."""

_log = log(__name__)

Heartbeat = Callable[[Attempts], AbstractAsyncContextManager[None]]
"""Keeps the leases of these attempts as long as it is open (`workers.heartbeat`)."""


class Worker:
    """Runs jobs of some queues until it is told to stop."""

    def __init__(
        self,
        options: WorkerOptions,
        store: JobStore,
        queue: LeaseQueue,
        clock: Clock,
        chance: Chance,
        executors: Executors,
        heartbeat: Heartbeat,
    ) -> None:
        ports = Ports(store, queue, clock, chance)
        self._options = options
        self._clock = clock
        self._heartbeat = heartbeat
        self._slots = Slots(options.concurrency, options.backlog, options.weights)
        self._finisher = Finisher(ports, lambda settled: self._attempts.forget(settled))
        self._bell = Bell(clock)
        self._attempts = Attempts(
            ports, executors, self._slots, self._finisher, on_calm=self._bell.ring
        )
        self._loops = [
            LeaseLoop(name, options, ports, self._slots, self._attempts) for name in options.queues
        ]
        self._stop_asked = asyncio.Event()

    @property
    def running(self) -> int:
        """How many jobs run at this moment."""
        return self._attempts.running

    def stop(self) -> None:
        """Drain and return from `run`. Who cannot wait for that cancels `run`."""
        self._stop_asked.set()
        self._bell.ring()

    async def run(self) -> None:
        """Work until `stop`, then drain. Once only. Cancelled, it leaves what it holds to the
        reaper."""
        RUNNING.set_function(lambda: self._attempts.running)
        async with self._heartbeat(self._attempts), asyncio.TaskGroup() as group:
            await self._work(group)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        self._attempts.open(group)
        finisher = group.create_task(self._finisher.run())
        loops = [group.create_task(loop.run()) for loop in self._loops]
        await self._stop_asked.wait()
        for task in (finisher, *loops):
            task.add_done_callback(lambda _: self._bell.ring())
        await self._drain(loops)
        await self._stop_code()
        await self._flush(finisher)

    async def _drain(self, loops: Sequence[asyncio.Task[None]]) -> None:
        """Wait until what was leased is given back or started, and what runs has ended."""
        _log.info("worker.drains", running=self._attempts.running)
        self._slots.close()
        for loop in self._loops:
            loop.stop()
        await self._wait_until(
            lambda: self._attempts.running == 0 and all(task.done() for task in loops),
            self._options.drain.total_seconds(),
        )
        for task in loops:
            task.cancel()

    async def _stop_code(self) -> None:
        """Give back what still runs; another worker starts it at once."""
        if self._attempts.running:
            _log.info("worker.releases", running=self._attempts.running)
            self._attempts.release_all()
            await self._wait_until(lambda: self._attempts.running == 0, _STOPPED_CODE)

    async def _flush(self, finisher: asyncio.Task[None]) -> None:
        """Everything is settled before we go, unless MongoDB is away for as long as a lease."""
        self._finisher.close()
        await self._wait_until(finisher.done, self._options.lease.total_seconds())
        if not finisher.done():
            _log.warning("worker.unsettled", next="the leases run out, the jobs run again")
            finisher.cancel()

    async def _wait_until(self, is_done: Callable[[], bool], seconds: float) -> None:
        """Return when it is done or the time is over; whoever can make it so rings the bell."""
        deadline = self._clock.monotonic() + seconds
        while not is_done() and (left := deadline - self._clock.monotonic()) > 0:
            await self._bell.wait(left)
