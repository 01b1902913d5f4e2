"""Connections and channels: opened by whoever needs one first, shared, and kept for the next.

Who comes while one is being opened waits for that and shares what comes of it, a failure too: of a
hundred jobs for a broker that does not answer each waits once, not a hundred times in turn. Who is
cancelled meanwhile ends alone, the opening and the closing go on: a channel that is given up half
opened, or closed twice, costs its connection, and with it what everybody has in flight. What is in
use is never closed. A crash loses all of it and nothing with it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
Open = Callable[[], Awaitable[T]]
Close = Callable[[T], Awaitable[None]]
IsUsable = Callable[[T], bool]


class Shared(Generic[T]):
    """One thing, opened at need, and again when it is of no more use."""

    def __init__(self, open: Open[T], close: Close[T], is_usable: IsUsable[T]) -> None:
        """`open` raises a `DueQError` if it cannot; `close` never raises for the server. Both are
        bounded in time: whoever closes this waits for them."""
        self._open = open
        self._close = close
        self._is_usable = is_usable
        self._thing: T | None = None
        self._opening: asyncio.Task[T] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def get(self) -> T:
        """The thing; raises what opening it raised."""
        if self._thing is not None and self._is_usable(self._thing):
            return self._thing
        if self._opening is None:
            self._opening = asyncio.create_task(self._open_anew())
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    async def close(self) -> None:
        """Close it, if it is there. After a cancel in between: again."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if self._closing is None:
            self._closing = asyncio.create_task(self._close_thing())
            self._closing.add_done_callback(self._closed)
        await asyncio.shield(self._closing)

    async def _open_anew(self) -> T:
        await self._close_thing()
        self._thing = await self._open()
        return self._thing

    async def _close_thing(self) -> None:
        thing, self._thing = self._thing, None
        if thing is not None:
            await self._close(thing)

    def _opened(self, opening: asyncio.Task[T]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # seen: who waited for it has it, and perhaps nobody did

    def _closed(self, _: asyncio.Task[None]) -> None:
        self._closing = None


@dataclass(eq=False, slots=True)
class _Entry(Generic[T]):
    shared: Shared[T]
    users: int = 0
    is_fresh: bool = True


class Kept(Generic[K, T]):
    """Many of them by key. In use are as many as there are users; of the others `most` are kept."""

    def __init__(
        self,
        open: Callable[[K], Awaitable[T]],
        close: Close[T],
        is_usable: IsUsable[T],
        most: int,
    ) -> None:
        self._open = open
        self._close = close
        self._is_usable = is_usable
        self._most = most
        self._entries: OrderedDict[K, _Entry[T]] = OrderedDict()
        self._leaving: list[_Entry[T]] = []

    @asynccontextmanager
    async def use(self, key: K) -> AsyncIterator[T]:
        """The thing of this key; as long as somebody uses it, it is not closed."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = self._new(key)
        self._entries.move_to_end(key)
        entry.users += 1
        entry.is_fresh = True
        try:
            yield await entry.shared.get()
        finally:
            entry.users -= 1
            if len(self._entries) > self._most:
                await self.trim()

    def __len__(self) -> int:
        return len(self._entries)

    async def trim(self) -> None:
        """Close what was not used for longest, as far as there are more than are kept."""
        unused = [key for key, entry in self._entries.items() if not entry.users]
        await self._drop(unused[: max(0, len(self._entries) - self._most)])

    async def close_unused(self) -> None:
        """Close what nobody has used since this was last called."""
        stale = [key for key, each in self._entries.items() if not each.users and not each.is_fresh]
        for entry in self._entries.values():
            entry.is_fresh = False
        await self._drop(stale)

    async def close(self) -> None:
        """Close all, in use or not."""
        await self._drop(list(self._entries))

    def _new(self, key: K) -> _Entry[T]:
        return _Entry(Shared(lambda: self._open(key), self._close, self._is_usable))

    async def _drop(self, keys: Sequence[K]) -> None:
        """Out of reach first: whoever comes while they are being closed opens another.

        All at once, for one that does not answer takes its time. Who is cancelled here leaves them
        to the next.
        """
        self._leaving += [self._entries.pop(key) for key in keys]
        leaving = list(self._leaving)
        await asyncio.gather(*(each.shared.close() for each in leaving))
        self._leaving = [each for each in self._leaving if each not in leaving]
