"""The dispatcher: what is about to be due goes from MongoDB into Redis (R4, section 4).

It looks ahead, so that jobs wait for their moment in Redis, where a millisecond counts. It writes
`queued` first and adds to Redis second; a crash in between leaves a job that is `queued` and
absent, which the reconciler adds. It also ends what has expired (R14).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from pipeline.domain.job import Entry
from pipeline.domain.states import State
from pipeline.ending import withdraw
from pipeline.ports import Chance, Clock, JobStore, LeaseQueue
from pipeline.telemetry import DISPATCHED, EXPIRED
from pipeline.watchers.loop import Loop

_BATCH = 500


class Dispatcher:
    """One pass of dispatch and expiry. `poll` must not be longer than `lookahead`."""

    def __init__(self, store: JobStore, queue: LeaseQueue, lookahead: timedelta) -> None:
        self._store = store
        self._queue = queue
        self._lookahead = lookahead

    def loop(self, poll: timedelta, clock: Clock, chance: Chance) -> Loop:
        """The loop that runs it: every `poll`, and at once when a job comes due before that."""
        return Loop("dispatcher", self.step, poll, clock, chance, self._queue.await_dispatch)

    async def step(self) -> None:
        """Expire, then dispatch until nothing more is due within the look-ahead.

        Expiry comes first because it needs no Redis: it goes on while Redis is away.
        """
        await self._expire()
        while entries := await self._store.dispatch(self._lookahead, _BATCH):
            await self._queue.add(entries)
            _count(entries)

    async def _expire(self) -> None:
        """A Redis that hangs is waited for once a pass, not for every batch (H17)."""
        is_heard = True
        while expired := await self._store.expire(_BATCH):
            EXPIRED.inc(len(expired))
            is_heard = is_heard and await self._withdraw(expired)
            if len(expired) < _BATCH:
                return

    async def _withdraw(self, expired: Sequence[str]) -> bool:
        """But for what somebody has redriven since."""
        places = await self._store.places(expired)
        return await withdraw((job for job in places if job.state is State.DEAD), self._queue)


def _count(entries: Sequence[Entry]) -> None:
    for queue, number in Counter(entry.queue for entry in entries).items():
        DISPATCHED.labels(queue).inc(number)
