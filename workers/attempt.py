"""One started job: run the code, conclude, hand the record in.

Whoever wants an attempt to end before its code does says why (`Stop`), and the first reason counts:
- released: the worker goes; the record says so and another worker starts the job at once;
- not ours any more (reaped, cancelled, taken over) or not known to be: the code is stopped and
  nothing is recorded, because somebody else's record decides (R6, R8).
Code that answers its being stopped with a result has not done its work; the reason stands. Code
that had ended before is never stopped: its result is offered, however late, and R6 decides.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache

from prometheus_client import Histogram

from pipeline.domain.execution import Ending, Released, conclude
from pipeline.domain.job import Job, Kind
from pipeline.ports import Attempt
from pipeline.telemetry import LEASES_LOST, RUN_TIME, START_DELAY, log
from workers.executors.executor import Runaway
from workers.executors.executors import Executors
from workers.finisher import Finisher
from workers.options import Ports
from workers.slots import Slots

_log = log(__name__)


class Stop(Enum):
    """Why an attempt is stopped before its code has ended."""

    RELEASE = "the worker stops"
    GONE = "the attempt is not running any more in MongoDB"
    UNTRUSTED = "its lease could not be confirmed in time"

    @property
    def ending(self) -> Ending | None:
        """What is recorded; None is nothing."""
        return Released() if self is Stop.RELEASE else None


@dataclass(eq=False, slots=True)
class Held:
    """An attempt from its won start until its record is written.

    `trusted_until` and `end_by`, when its code shall have ended at the latest (both of our
    monotonic clock), are written by the heartbeat's thread, everything else by the worker's loop;
    it writes `end_by` as well when it gives back what runs: each only makes it earlier.
    """

    job: Job
    attempt: Attempt
    trusted_until: float
    end_by: float
    task: asyncio.Task[None] | None = None
    has_begun: bool = False
    has_ended: bool = False
    stop: Stop | None = None

    def asked(self) -> Stop | None:
        """Why it shall end, if it shall."""
        return self.stop


class Attempts:
    """The attempts that this process holds. `held` and `unended` may be called by any thread.

    An attempt stays held, and is extended, until its record is written: a result that waits for
    MongoDB must not be reaped.
    """

    def __init__(
        self,
        ports: Ports,
        executors: Executors,
        slots: Slots,
        finisher: Finisher,
        on_calm: Callable[[], None],
    ) -> None:
        self._ports = ports
        self._executors = executors
        self._slots = slots
        self._finisher = finisher
        self._held: dict[Attempt, Held] = {}
        self._left_behind: set[Held] = set()
        """Coroutines that run on after their attempt. A thread does, too, but blocks no loop."""
        self._lock = threading.Lock()
        self._running = 0
        self._group: asyncio.TaskGroup | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_calm = on_calm

    def open(self, group: asyncio.TaskGroup) -> None:
        """Run the code of attempts as children of `group`."""
        self._group = group
        self._loop = asyncio.get_running_loop()

    @property
    def running(self) -> int:
        """How many run code at this moment."""
        return self._running

    def held(self) -> Sequence[Held]:
        """Those at this moment."""
        with self._lock:
            return list(self._held.values())

    def unended(self) -> Sequence[Held]:
        """Those at this moment whose code has not ended, and may be what blocks our loop."""
        with self._lock:
            running = [held for held in self._held.values() if not held.has_ended]
            return [*running, *self._left_behind]

    def launch(self, jobs: Sequence[Job], trusted_until: float) -> None:
        """Run what was won, each as a task of its own."""
        assert self._group is not None
        started = [self._hold(job, trusted_until) for job in jobs]
        with self._lock:
            self._held.update((held.attempt, held) for held in started)
        self._running += len(started)
        for held in started:
            held.task = self._group.create_task(self._run(held))

    def release_unrun(self, jobs: Sequence[Job]) -> None:
        """Give back what was won too late to run it."""
        for job in jobs:
            held = self._hold(job, 0.0)
            held.has_ended = True
            with self._lock:
                self._held[held.attempt] = held
            self._slots.code_ended()
            self._offer(held, Released())

    def forget(self, attempts: Iterable[Attempt]) -> None:
        """These are recorded, or nothing of them will be."""
        count = 0
        with self._lock:
            for attempt in attempts:
                count += self._held.pop(attempt, None) is not None
        self._slots.settled(count)

    def ask_to_stop(self, held: Sequence[Held], why: Stop) -> None:
        """Stop their code soon, in the worker's loop. From the heartbeat's thread."""
        attempts = self._end_now(held)
        if attempts:
            self._call_in_loop(lambda: self._stop_all(attempts, why))

    def release_all(self) -> None:
        """Stop all code and give the jobs back."""
        self._stop_all(self._end_now(self.held()), Stop.RELEASE)

    def _end_now(self, held: Sequence[Held]) -> list[Attempt]:
        """Whoever blocks the loop instead of ending does so past his time from now on."""
        now = self._ports.clock.monotonic()
        for one in held:
            one.end_by = min(one.end_by, now)
        return [one.attempt for one in held]

    # -- one attempt

    def _hold(self, job: Job, trusted_until: float) -> Held:
        end_by = self._ports.clock.monotonic() + self._executors.timeout_of(job)
        return Held(job, Attempt.of(job), trusted_until, end_by)

    async def _run(self, held: Held) -> None:
        began_at = self._ports.clock.monotonic()
        self._observe_start(held.job)
        ending = await self._run_code(held)
        self._code_ended(held)
        _run_time(held.job.spec.kind).observe(self._ports.clock.monotonic() - began_at)
        if ending is None:
            self.forget([held.attempt])
        else:
            self._offer(held, ending)

    def _observe_start(self, job: Job) -> None:
        delay = self._ports.clock.now() - job.due_at
        _start_delay(job.queue).observe(delay.total_seconds())

    async def _run_code(self, held: Held) -> Ending | None:
        """How it ended; None if nothing is to be recorded."""
        if (stop := held.asked()) is not None:  # before its task had its first turn
            return stop.ending
        held.has_begun = True
        try:
            ending = await self._executors.run(held.job)
        except asyncio.CancelledError:
            if (stop := held.asked()) is None:
                raise  # not this attempt is being stopped, the whole worker is
            return stop.ending
        stop = held.asked()
        return ending if stop is None else stop.ending

    def _code_ended(self, held: Held) -> None:
        held.has_ended = True
        self._running -= 1
        if self._running == 0:
            self._on_calm()
        runaway = self._executors.pop_abandoned(held.job)
        if runaway is None:
            self._slots.code_ended()
        else:
            self._leave_behind(held, runaway)

    def _leave_behind(self, held: Held, runaway: Runaway) -> None:
        """Nobody can stop it."""
        _log.warning("code.runs_on", job=held.job.id, attempt=held.job.attempt,
                     next="its slot is free when it returns")  # fmt: skip
        if isinstance(runaway, asyncio.Task):
            with self._lock:
                self._left_behind.add(held)
        runaway.add_done_callback(lambda _: self._call_in_loop(lambda: self._came_back(held)))

    def _came_back(self, held: Held) -> None:
        with self._lock:
            self._left_behind.discard(held)
        self._slots.code_ended()

    def _offer(self, held: Held, ending: Ending) -> None:
        execution = conclude(
            self._executors.judged(held.job),
            ending,
            finished_at=self._ports.clock.now(),
            lot=self._ports.chance.lot(),
        )
        self._finisher.offer(execution, held.job.queue)

    def _stop_all(self, attempts: Sequence[Attempt], why: Stop) -> None:
        for attempt in attempts:
            held = self._held.get(attempt)
            if held is None or held.has_ended or held.stop is not None:
                continue
            held.stop = why
            if why is not Stop.RELEASE:
                LEASES_LOST.inc()
                _log.warning("lease.lost", job=attempt.job_id, attempt=attempt.attempt,
                             why=why.value, next="its code is stopped")  # fmt: skip
            if held.has_begun and held.task is not None:
                held.task.cancel()

    def _call_in_loop(self, act: Callable[[], None]) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the worker is gone, and its loop with it
            self._loop.call_soon_threadsafe(act)


@cache
def _start_delay(queue: str) -> Histogram:
    return START_DELAY.labels(queue)


@cache
def _run_time(kind: Kind) -> Histogram:
    return RUN_TIME.labels(kind)
