"""The heartbeat: the leases of what this process executes, confirmed in MongoDB first (R8).

Every third of a lease MongoDB is asked which attempts are still running under their lease id. Those
are written into Redis, new or over another's lease; all others are stopped. So a wipe of Redis, a
failover, a second lease of a job (H20), a cancel and a reap all heal by the same step. Nothing that
was not confirmed for a lease goes on running.

It lives in a thread with a loop and connections of its own, so that no job, busy or blocking, can
starve it. Time is the clock's `monotonic`, which stands still while the machine is suspended: code
may then go on after its lease until the first beat; its record is refused all the same (R6).

Code that blocks the worker's loop cannot be stopped from here. When it should have ended a lease
ago, by its timeout or because it was stopped, and the loop was seen not to answer for as long, the
whole process has to go: else it would extend the leases of jobs that stand still for ever, and no
signal reaches it. The same goes for a coroutine that runs on after its attempt.
"""

import asyncio
import os
import platform
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from pipeline.domain.errors import Unavailable
from pipeline.domain.queue_share import told_weights
from pipeline.ports import Chance, Clock, JobStore, Lease, LeaseQueue, WorkerView
from pipeline.telemetry import STEP_ERRORS, log
from workers.attempt import Attempts, Held, Stop
from workers.bell import Bell
from workers.options import WorkerOptions
from workers.patience import Patience
from workers.stall import Stall

_GOODBYE = 1.0
"""Seconds for the last words; without them the announcement runs out by itself."""

_log = log(__name__)

HeartbeatPorts = Callable[[], AbstractAsyncContextManager[tuple[JobStore, LeaseQueue]]]
"""Opens a store and a queue of its own, in the loop in which it is called."""
GiveUp = Callable[[], None]
"""Ends the process at once: its loop would not hear of it."""


class Heartbeat:
    """One round of it; knows nothing of threads."""

    def __init__(self, options: WorkerOptions, attempts: Attempts, clock: Clock) -> None:
        self._options = options
        self._attempts = attempts
        self._clock = clock
        self._started_at = clock.now()

    async def beat(self, store: JobStore, queue: LeaseQueue) -> None:
        """Confirm, extend, stop what is not ours, say who we are. Raises `Unavailable`."""
        held = self._attempts.held()
        if held:
            await self._confirm(held, store, queue)
        await queue.announce_worker(self._view(), self._options.lease * 2)

    async def _confirm(self, held: Sequence[Held], store: JobStore, queue: LeaseQueue) -> None:
        sent_at = self._clock.monotonic()
        running = await store.running([one.attempt for one in held])
        await self._let_go([one for one in held if one.attempt not in running], queue)
        # What was acknowledged while we asked must not get a lease again.
        still_held = {one.attempt for one in self._attempts.held()}
        kept = [one for one in held if one.attempt in running & still_held]
        await queue.extend([Lease.of(one.job) for one in kept], self._options.lease)
        for one in kept:
            one.trusted_until = sent_at + self._options.trust

    async def _let_go(self, gone: Sequence[Held], queue: LeaseQueue) -> None:
        """Ended by somebody else, or by ourselves a moment ago: a lease of it serves nobody."""
        if gone:
            self._attempts.ask_to_stop(gone, Stop.GONE)
            await queue.ack([Lease.of(one.job) for one in gone])

    def stop_untrusted(self) -> float:
        """Stop what could not be confirmed in time; seconds until that threatens the next one."""
        now = self._clock.monotonic()
        held = [one for one in self._attempts.held() if not one.has_ended]
        late = [one for one in held if one.trusted_until <= now]
        self._attempts.ask_to_stop(late, Stop.UNTRUSTED)
        return min(
            (one.trusted_until - now for one in held if one.trusted_until > now),
            default=self._options.trust,
        )

    def overdue(self) -> float:
        """For how many seconds code runs here that should have ended."""
        now = self._clock.monotonic()
        return max((now - one.end_by for one in self._attempts.unended()), default=0.0)

    def _view(self) -> WorkerView:
        return WorkerView(
            id=self._options.id,
            host=platform.node(),
            pid=os.getpid(),
            queues=self._options.queues,
            concurrency=self._options.concurrency,
            running=self._attempts.running,
            started_at=self._started_at,
            extra={"version": self._options.version} | told_weights(self._options.weights),
        )


class Pulse:
    """Beats every third of a lease, over every outage, and watches the trust in between."""

    def __init__(
        self,
        options: WorkerOptions,
        attempts: Attempts,
        ports: HeartbeatPorts,
        clock: Clock,
        chance: Chance,
        give_up: GiveUp,
    ) -> None:
        self._options = options
        self._ports = ports
        self._clock = clock
        self._give_up = give_up
        self._heartbeat = Heartbeat(options, attempts, clock)
        self._patience = Patience(clock, chance)
        self._bell = Bell(clock)
        self._period = options.beat
        self._lease = options.lease.total_seconds()
        self._glance = self._lease / 20
        self._stall = Stall(clock, self._glance)

    async def run(self) -> None:
        """Until cancelled; then say goodbye."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._live(group))

    async def _watch(self) -> None:
        while True:
            blocked = self._stall.look()
            wait = self._heartbeat.stop_untrusted()
            if blocked >= self._lease and self._heartbeat.overdue() >= self._lease:
                _log.error("worker.gives_up", blocked_s=round(blocked, 1),
                           next="the process ends, and what it ran is lost with it")  # fmt: skip
                self._give_up()
            await self._clock.sleep(min(wait, self._glance))

    async def _live(self, group: asyncio.TaskGroup) -> None:
        failures = 0
        while True:
            try:
                async with self._ports() as (store, queue):
                    listening = group.create_task(self._listen(queue))
                    try:
                        await self._beat_on(store, queue)
                    finally:
                        listening.cancel()
            except Exception as error:
                failures += 1
                STEP_ERRORS.labels("heartbeat").inc()
                _log.exception("heartbeat.failed", error=str(error), next="connect anew")
                await self._patience.pause(failures)

    async def _beat_on(self, store: JobStore, queue: LeaseQueue) -> None:
        failures = 0
        try:
            while True:
                began_at = self._clock.monotonic()
                try:
                    await self._heartbeat.beat(store, queue)
                    failures = 0
                except Unavailable as error:
                    failures += 1
                    _log.warning("heartbeat.failed", error=str(error), next="again soon")
                    await self._patience.pause(failures)
                    continue
                passed = self._clock.monotonic() - began_at
                await self._bell.wait(max(0.0, self._period - passed))
        finally:
            await self._say_goodbye(queue)

    async def _listen(self, queue: LeaseQueue) -> None:
        """Beat at once when somebody says so. A hint: without it, the next beat finds the same."""
        try:
            while True:
                await queue.await_nudge(self._options.id)
                self._bell.ring()
        except Exception as error:
            STEP_ERRORS.labels("nudge").inc()
            _log.exception("nudge.failed", error=str(error), next="cancels wait for the next beat")

    async def _say_goodbye(self, queue: LeaseQueue) -> None:
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await queue.retract_worker(self._options.id)


def in_own_thread(
    options: WorkerOptions, ports: HeartbeatPorts, clock: Clock, chance: Chance, give_up: GiveUp
) -> Callable[[Attempts], AbstractAsyncContextManager[None]]:
    """Beat in a thread of its own; `ports` is called there, in that thread's loop."""

    @asynccontextmanager
    async def beating(attempts: Attempts) -> AsyncIterator[None]:
        thread = _Thread(Pulse(options, attempts, ports, clock, chance, give_up))
        thread.start()
        try:
            async with asyncio.TaskGroup() as group:
                guard = group.create_task(thread.guard())
                yield
                guard.cancel()
        finally:
            thread.cancel()
            await thread.ended.wait()
            thread.join()

    return beating


class _Thread(threading.Thread):
    """Runs a pulse until `cancel`. Dies with the process."""

    def __init__(self, pulse: Pulse) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.ended = asyncio.Event()
        self._home = asyncio.get_running_loop()
        self._pulse = pulse
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._ready = threading.Event()

    def run(self) -> None:
        try:
            asyncio.run(self._beat())
        finally:
            self._ready.set()
            self._home.call_soon_threadsafe(self.ended.set)

    async def guard(self) -> None:
        """Raise if it ends by itself: a worker without a heartbeat must not go on."""
        await self.ended.wait()
        raise RuntimeError("the heartbeat has died")

    def cancel(self) -> None:
        """Let it say goodbye and end."""
        self._ready.wait()
        if self._loop is not None and self._end is not None:
            with suppress(RuntimeError):  # its loop has ended by itself
                self._loop.call_soon_threadsafe(self._end.set)

    async def _beat(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        async with asyncio.TaskGroup() as group:
            pulse = group.create_task(self._pulse.run())
            await self._end.wait()
            pulse.cancel()
