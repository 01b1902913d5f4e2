"""Time and chance that a test holds in its hand: nothing sleeps, nothing differs between runs."""

import asyncio
import heapq
import itertools
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class ManualClock:
    """Stands still until `advance`; a sleeper wakes when its time has come, in order.

    Its own arithmetic is whole microseconds, so that ten steps of 0.1 s are one second.
    """

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._elapsed = timedelta()
        self._numbers = itertools.count()
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The instant that the test has set."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved time far enough; nothing or less only yields."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Less than it can count is not nothing: who sleeps until an instant would never reach it.
        wake_at = self._elapsed + max(timedelta(seconds=seconds), timedelta.resolution)
        heapq.heappush(self._sleepers, (wake_at, next(self._numbers), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move time on at once. Who sleeps again in between sees only the end of it."""
        passed = timedelta(seconds=seconds)
        self._now += passed
        self._elapsed += passed
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    async def run(self, seconds: float) -> None:
        """Move time on from sleeper to sleeper, letting each do its work at its own instant."""
        end = self._elapsed + timedelta(seconds=seconds)
        await self._let_others_run()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.advance((self._sleepers[0][0] - self._elapsed).total_seconds())
            await self._let_others_run()
        self.advance((end - self._elapsed).total_seconds())
        await self._let_others_run()

    def set_now(self, instant: datetime) -> None:
        """Set the wall clock alone, as a stepped host clock would: durations do not notice."""
        self._now = instant

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    @staticmethod
    async def _let_others_run() -> None:
        for _ in range(20):
            await asyncio.sleep(0)


class SeededChance:
    """The same ids and lots in every run with the same seed; ids are UUIDv7 that grow."""

    def __init__(self, seed: int, born: datetime = START) -> None:
        self._random = random.Random(seed)
        self._ms = int(born.timestamp() * 1000)
        self._numbers = itertools.count()

    def job_id(self) -> str:
        """A UUIDv7, a millisecond younger than the last."""
        ms = self._ms + next(self._numbers)
        tail = self._random.getrandbits(74)
        bits = (ms << 80) | (7 << 76) | ((tail >> 62) << 64) | (2 << 62) | (tail & (2**62 - 1))
        return str(UUID(int=bits))

    def token(self) -> str:
        """Twelve hexadecimal digits."""
        return f"{self._random.getrandbits(48):012x}"

    def lot(self) -> float:
        """A number from [0, 1)."""
        return self._random.random()
