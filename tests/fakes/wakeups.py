"""Tokens in memory: at most one a list, taken by one sleeper."""

import asyncio
import contextlib
from collections import defaultdict, deque

from pipeline.ports import Clock

STAND = 20.0


class FakeWakeups:
    """What `BLPOP` on a list with at most one token does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sleepers: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)
        self.tokens: set[str] = set()

    def leave(self, name: str) -> None:
        """Wake the first sleeper, or leave a token for the next one."""
        sleepers = self._sleepers[name]
        while sleepers:
            sleeper = sleepers.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                return
        self.tokens.add(name)

    async def wait(self, name: str) -> None:
        """Return with a token, or after `STAND` seconds of the clock."""
        if name in self.tokens:
            self.tokens.remove(name)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[name].append(sleeper)
        timer = asyncio.ensure_future(self._clock.sleep(STAND))
        try:
            await asyncio.wait((sleeper, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await timer

    def sleeping(self, name: str) -> int:
        """How many wait for this list."""
        return sum(not sleeper.done() for sleeper in self._sleepers[name])
