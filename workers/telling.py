"""Shows the world what running attempts tell: at most twice a second, all of them in one call.

Nothing is told to Redis of an attempt that tells nothing, or that has ended: its record has it.
What Redis has outlives this worker by more than a lease, since whoever reaps an attempt records
what it told last; then it expires.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from pipeline.domain.errors import Unavailable
from pipeline.ports import Clock, LiveNotes
from pipeline.telemetry import log
from workers.notes import Note, Notes

_EVERY = 0.5
_REFRESH = 20.0
_MARGIN = timedelta(seconds=30 + _REFRESH)
"""A lease that has run out is reaped in this time, as a rule."""

_log = log(__name__)


class Telling:
    """From the notes of this process to Redis."""

    def __init__(self, notes: Notes, live: LiveNotes, clock: Clock, lease: timedelta) -> None:
        self._ttl = lease + _MARGIN
        self._notes = notes
        self._live = live
        self._clock = clock
        self._refreshed_at = clock.monotonic()
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled; asleep while nobody tells anything."""
        news = asyncio.Event()
        self._notes.on_news = _setter(news)
        while True:
            if not self._notes.told():
                await news.wait()
            news.clear()
            await self._tell()
            await self._clock.sleep(_EVERY)

    async def _tell(self) -> None:
        notes: dict[tuple[str, int], Note] = {}
        if self._clock.monotonic() - self._refreshed_at >= _REFRESH:
            self._refreshed_at = self._clock.monotonic()
            notes = {(each.job_id, each.attempt): each for each in self._notes.told()}
        notes |= {(each.job_id, each.attempt): each for each in self._notes.take_changed()}
        try:
            await self._live.tell({name: note.live for name, note in notes.items()}, self._ttl)
            self._failures = 0
        except Unavailable as error:
            self._failures += 1
            if self._failures == 1:
                _log.warning("notes.failed", error=str(error), next="their records will have them")


def _setter(news: asyncio.Event) -> Callable[[], None]:
    """Sets it, from any thread, as long as its loop is there."""
    loop = asyncio.get_running_loop()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop has ended; a thread has not
            loop.call_soon_threadsafe(news.set)

    return tell
