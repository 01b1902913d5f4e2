"""The only module that tells time, sleeps and draws lots.

`StoreClock` reckons MongoDB's clock from our monotonic one, so that a host whose wall clock is five
minutes ahead delays nothing (R11, H25). Wall clocks of hosts decide nothing.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import uuid_utils

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLES = 5
_CUT = 0.001
"""MongoDB tells its time cut to milliseconds: it may be up to this much later than it says."""


class StoreClock:
    """MongoDB's clock: our monotonic clock plus an offset, measured at connect and every minute.

    Until the first `measure` it is this host's wall clock.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> datetime:
        """The instant by MongoDB's clock."""
        return _EPOCH + timedelta(seconds=time.monotonic() + self._offset)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def measure(self, server_time: Callable[[], Awaitable[datetime]]) -> None:
        """Set the offset from a few questions to the server.

        Each answer bounds it from both sides: the server read its clock after we asked and before
        we heard. The middle of what all answers allow is taken.
        """
        lows, highs = [], []
        for _ in range(_SAMPLES):
            asked = time.monotonic()
            said = (await server_time() - _EPOCH).total_seconds()
            heard = time.monotonic()
            lows.append(said - heard)
            highs.append(said + _CUT - asked)
        self._offset = (max(lows) + min(highs)) / 2


class SystemChance:
    """Real randomness."""

    def __init__(self) -> None:
        self._random = random.Random()

    def job_id(self) -> str:
        """A fresh UUIDv7."""
        return str(uuid_utils.uuid7())

    def token(self) -> str:
        """Twelve fresh hexadecimal digits."""
        return secrets.token_hex(6)

    def lot(self) -> float:
        """A number from [0, 1)."""
        return self._random.random()
