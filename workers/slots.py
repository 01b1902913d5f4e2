"""How many more jobs this worker may take, shared fairly by its queues.

A slot is held from before the lease call until the code has ended; credit is held until the record
is written. Both bound what is leased: concurrency the code, credit the results that wait for a
MongoDB that does not answer.
"""

import asyncio


class Slots:
    """Counts; the lease loops reserve, whoever ends a job gives back."""

    def __init__(self, concurrency: int, backlog: int) -> None:
        self._slots = concurrency
        self._credit = concurrency + backlog
        self._wanting = 0
        self._closed = False
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def has_room(self) -> bool:
        """Whether there is a slot to take."""
        return self._free > 0

    async def reserve(self) -> int:
        """At least one slot, now the caller's; all there are if no other queue waits.

        Waits in line: of two hungry queues each gets its turn. 0 means `close` was called.
        """
        self._wanting += 1
        try:
            async with self._turn:  # first come, first served
                await self._room.wait()
                return self._take(-(-self._free // self._wanting))
        finally:
            self._wanting -= 1

    async def wait_for_room(self) -> None:
        """Return when a slot is free, without taking it, or when `close` was called."""
        await self._room.wait()

    def give_back(self, count: int) -> None:
        """Of what was reserved, this much was not needed."""
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

    def _take(self, count: int) -> int:
        self._change(slots=-count, credit=-count)
        return count

    def _change(self, slots: int, credit: int) -> None:
        self._slots += slots
        self._credit += credit
        if self._free or self._closed:
            self._room.set()
        else:
            self._room.clear()
