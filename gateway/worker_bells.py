"""Who of those that wait at this gateway for work looks next.

A read stands for each queue that somebody waits for; what comes rings for one of them, the one that
has waited longest. A ring is a token, good for one look at that queue (`pipeline.queue.wakeups`):
who was rung and does not look, because he found work in another queue or has gone, hands it on, to
a neighbour or back to Redis. A read that nobody waits for any more stands until it ends by itself,
for a cancelled one may have eaten a token.

A gateway that is killed takes its tokens along; a watcher gives them again within two seconds.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from pipeline.domain.errors import Unavailable
from pipeline.ports import Clock, LeaseQueue
from pipeline.telemetry import STEP_ERRORS, log

_PAUSE = 1.0
_GOODBYE = 1.0
"""Seconds to give tokens back when this gateway stops; a watcher gives what is not given back."""
_log = log(__name__)


class Bells:
    """Those of one gateway."""

    def __init__(self, queue: LeaseQueue, clock: Clock) -> None:
        self.clock = clock
        self._queue = queue
        self._waiters: defaultdict[str, dict[Waiter, None]] = defaultdict(dict)
        """By queue, who has waited longest first."""
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until then nobody is rung."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                yield
                self._group = None
                for reader in self._readers.values():
                    reader.cancel()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    for queue in self._readers:  # a cancelled read may have eaten a token
                        await self.hand_on(queue)

    @asynccontextmanager
    async def waiter(self) -> AsyncIterator["Waiter"]:
        """Somebody who attends to no queue yet, and to none in the end."""
        waiter = Waiter(self)
        try:
            yield waiter
        finally:
            await waiter.attend(())

    def add(self, waiter: "Waiter", queue: str) -> None:
        """It is rung for this queue."""
        self._waiters[queue][waiter] = None
        if self._group is not None and queue not in self._readers:
            self._readers[queue] = self._group.create_task(self._read(queue))

    def remove(self, waiter: "Waiter", queue: str) -> None:
        """It is not (any more)."""
        self._waiters[queue].pop(waiter, None)
        if not self._waiters[queue]:
            del self._waiters[queue]

    def waiting(self, queue: str) -> int:
        """How many wait here for this queue."""
        return len(self._waiters.get(queue, ()))

    async def hand_on(self, queue: str) -> None:
        """Somebody else looks: who waits here for this queue, or whoever stands at Redis."""
        if waiters := self._waiters.get(queue):
            waiter = next(iter(waiters))
            waiters[waiter] = waiters.pop(waiter)
            waiter.ring(queue)
            return
        with suppress(Unavailable):
            await self._queue.pass_on(queue)

    async def _read(self, queue: str) -> None:
        while queue in self._waiters:
            try:
                await self._queue.await_work(queue)
            except Exception as error:
                STEP_ERRORS.labels("await work").inc()
                _log.exception("await_work.failed", queue=queue, error=str(error), next="again")
                await self.clock.sleep(_PAUSE)
            await self.hand_on(queue)
        del self._readers[queue]


class Waiter:
    """A request for work. A ring that comes while it looks is kept for its next wait."""

    def __init__(self, bells: Bells) -> None:
        self._bells = bells
        self._queues: frozenset[str] = frozenset()
        self._rung: set[str] = set()
        self._news = asyncio.Event()

    def ring(self, queue: str) -> None:
        """There may be work in this queue."""
        self._rung.add(queue)
        self._news.set()

    async def attend(self, queues: Iterable[str]) -> None:
        """Be rung for these queues from now on; a ring for another one is handed on."""
        before, self._queues = self._queues, frozenset(queues)
        for queue in self._queues - before:
            self._bells.add(self, queue)
        for queue in before - self._queues:
            self._bells.remove(self, queue)
        for queue in self._rung - self._queues:
            self._rung.discard(queue)
            await self._bells.hand_on(queue)

    def looks_at(self, queue: str) -> None:
        """What was rung for it until now is answered by this look."""
        self._rung.discard(queue)

    async def wait(self, seconds: float) -> bool:
        """Return at a ring, or after that; whether there was one."""
        if not self._rung:
            self._news.clear()
            async with asyncio.TaskGroup() as group:
                alarm = group.create_task(self._end_after(seconds))
                await self._news.wait()
                alarm.cancel()
        return bool(self._rung)

    async def _end_after(self, seconds: float) -> None:
        await self._bells.clock.sleep(seconds)
        self._news.set()
