"""How many more jobs this worker may take, shared by its queues according to their weights.

A slot is held from before the lease call until the code has ended; credit is held until the record
is written. Both bound what is leased: concurrency the code, credit the results that wait for a
MongoDB that does not answer.

As long as several queues have work, slots go to them in proportion to their weights (stride
scheduling): the one that has had least for its weight is next, so nobody starves. One that finds
nothing gives its part back at once; and one that was idle has saved up nothing.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

_ALL_ALIKE: Mapping[str, int] = MappingProxyType({})


class Slots:
    """Counts; the lease loops reserve, whoever ends a job gives back."""

    def __init__(
        self, concurrency: int, backlog: int, weights: Mapping[str, int] = _ALL_ALIKE
    ) -> None:
        self._concurrency = concurrency
        self._slots = concurrency
        self._credit = concurrency + backlog
        self._weights = weights
        self._had: dict[str, float] = {}
        """What each queue has been given, divided by its weight."""
        self._hungry: dict[str, bool] = {}
        """Queues that want slots, the first to come first; False: it leases what it was given."""
        self._closed = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def has_room(self) -> bool:
        """Whether there is a slot to take."""
        return self._free > 0

    async def reserve(self, queue: str) -> int:
        """At least one slot, now this queue's; all there are if no other queue wants any.

        0 means that `close` was called.
        """
        self._join(queue)
        try:
            while not self._closed:
                if self._free and self._is_next(queue):
                    return self._take(queue)
                await self._news.wait()
        except asyncio.CancelledError:
            self._leave(queue)
            raise
        return 0

    async def wait_for_room(self) -> None:
        """Return when a slot is free, without taking it, or when `close` was called."""
        await self._room.wait()

    def give_back(self, queue: str, count: int) -> None:
        """Of what this queue reserved, this much was not needed: it has no more work."""
        if count:
            self._had[queue] -= count / self._weight(queue)
            self._leave(queue)
            self._change(slots=count, credit=count)

    def code_ended(self) -> None:
        """The code of one job does not run any more."""
        self._change(slots=1, credit=0)

    def settled(self, count: int) -> None:
        """So many attempts are recorded, or given up: nothing of them is left in memory."""
        self._change(slots=0, credit=count)

    def close(self) -> None:
        """Nobody gets a slot any more."""
        self._closed = True
        self._change(slots=0, credit=0)

    @property
    def _free(self) -> int:
        return 0 if self._closed else max(0, min(self._slots, self._credit))

    # -- whose turn it is

    def _weight(self, queue: str) -> int:
        return self._weights.get(queue, 1)

    def _join(self, queue: str) -> None:
        """Who comes after a pause starts level with those who are there."""
        if queue not in self._hungry:
            level = min((self._had[other] for other in self._hungry), default=0.0)
            self._had[queue] = max(self._had.get(queue, 0.0), level)
        self._hungry[queue] = True

    def _leave(self, queue: str) -> None:
        self._hungry.pop(queue, None)
        self._tell()

    def _is_next(self, queue: str) -> bool:
        """Of those that wait, the one that had least.

        One that leases at this moment comes back hungry or not at all: until then nobody gets ahead
        of it by more than this worker's slots, or a queue whose leases take longer would be pushed
        below its share. That wait is as long as one lease call.
        """
        mine = self._had[queue]
        lead = self._concurrency / sum(map(self._weight, self._hungry))
        for other, waits in self._hungry.items():
            if waits and self._had[other] < mine:
                return False
            if not waits and self._had[other] + lead < mine:
                return False
        return True

    def _take(self, queue: str) -> int:
        """Its part of what is free: all of it if it is alone."""
        weight = self._weight(queue)
        count = -(-self._free * weight // sum(map(self._weight, self._hungry)))
        self._had[queue] += count / weight
        self._hungry[queue] = False
        self._change(slots=-count, credit=-count)
        return count

    def _change(self, slots: int, credit: int) -> None:
        self._slots += slots
        self._credit += credit
        if self._free or self._closed:
            self._room.set()
        else:
            self._room.clear()
        self._tell()

    def _tell(self) -> None:
        """Whoever waits for its turn looks again."""
        if self._closed or any(self._hungry.values()):
            news, self._news = self._news, asyncio.Event()
            news.set()
