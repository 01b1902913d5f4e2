"""Wake-ups: a list with at most one token, and blocking reads that stand on it.

A push wakes one sleeper, who looks, and the lease script wakes the next as long as something is
left: a crowd wakes one by one, and only as much of it as there is work. A token can be lost with
the process that took it, so nobody may rely on it alone: every read ends after a while, and its
caller looks anyway.
"""

from pipeline.domain.errors import Unavailable
from pipeline.domain.pauses import growing, half_to_all
from pipeline.ports import Chance, Clock
from pipeline.queue import scripts
from pipeline.queue.connect import Lines

STAND = 20
"""Seconds that a read stands. A blocking command's own timeout is late by up to 100 ms (`hz 10`):
nothing may be timed by it."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Wakeups:
    """Waiting for a token, and leaving one."""

    def __init__(self, standing: Lines, lines: Lines, clock: Clock, chance: Chance) -> None:
        self._standing = standing
        self._lines = lines
        self._clock = clock
        self._chance = chance
        self._failures = 0

    async def wait(self, key: str) -> None:
        """Return when a token came, when none came for long, or a while after an error.

        Never cancel it but to end: a cancelled read may have eaten the token.
        """
        try:
            await self._standing.ask_once("BLPOP", key, STAND)
            self._failures = 0
        except Unavailable:
            self._failures += 1
            await self._clock.sleep(self._pause())

    async def leave(self, key: str) -> None:
        """Leave a token unless there is one."""
        await self._lines.run(scripts.WAKE, [key])

    def _pause(self) -> float:
        whole = growing(self._failures, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        return half_to_all(whole, self._chance.lot())
