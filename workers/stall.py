"""A coroutine that blocks the loop of its worker: seen from the heartbeat's thread, and said.

Neither its timeout nor a cancel reaches it, and its neighbours stand still as well; but their
leases are extended, since the process lives. So nobody would know: the log tells where it is. What
becomes of the process when it goes on like that is for the heartbeat to say.
"""

import asyncio
import sys
import threading
import traceback
from contextlib import suppress

from pipeline.ports import Clock
from pipeline.telemetry import log

_LONG = 5.0
"""Seconds; whatever computes that long belongs into a process."""
_FRAMES = 5
_LATE = 2.0
"""So many times as long as from one look to the next counts at most: who was frozen himself, or had
no CPU, has not looked, and the loop may answer at once."""

_log = log(__name__)


class Stall:
    """Watches the loop that it is made in, from any other thread, but one.

    The watched loop writes `_asked_at` alone, and at any moment: whoever looks reads it once.
    `glance` is how many seconds are meant to pass from one look to the next.
    """

    def __init__(self, clock: Clock, glance: float) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._clock = clock
        self._most = glance * _LATE
        self._asked_at: float | None = None
        self._is_told = False
        self._looked_at = self._watched = 0.0

    def look(self) -> float:
        """Ask for a sign of life; say so, once, if there has been none for long.

        For how many seconds we have watched that there was none.
        """
        now, asked_at = self._clock.monotonic(), self._asked_at
        passed, self._looked_at = now - self._looked_at, now
        if asked_at is None:
            self._asked_at, self._is_told, self._watched = now, False, 0.0
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._answer)
            return 0.0
        self._watched += min(passed, self._most)
        if now - asked_at >= _LONG and not self._is_told:
            self._is_told = True
            _log.error("loop.blocked", seconds=round(now - asked_at, 1), where=self._where(),
                       next="its jobs stand still until this returns")  # fmt: skip
        return self._watched

    def _answer(self) -> None:
        self._asked_at = None

    def _where(self) -> str:
        frame = sys._current_frames().get(self._thread)
        return "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame is not None else ""
