"""A loop: a step that is run again and again, until stopped.

What a step leaves undone when it fails, the next step does; so a failure is logged with what
happens next, and never ends the loop. A loop may be woken before its time. Its period is drawn anew
each time, between half and nine tenths of the longest, so that copies do not move as one (R12).
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta

from pipeline.domain.errors import Unavailable
from pipeline.ports import Chance, Clock
from pipeline.telemetry import STEP_ERRORS, log

Step = Callable[[], Awaitable[None]]
_RETRY_SECONDS = 1.0

_log = log(__name__)


class Loop:
    """Runs `step` at least every `period`; `listen` returns whenever it should run at once.

    `at_latest` is asked after a step that succeeded: it runs again within so many seconds.
    """

    def __init__(
        self,
        name: str,
        step: Step,
        period: timedelta,
        clock: Clock,
        chance: Chance,
        listen: Step | None = None,
        at_latest: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self.name = name
        self._step = step
        self._period = period.total_seconds()
        self._clock = clock
        self._chance = chance
        self._listen = listen
        self._at_latest = at_latest
        self._woken = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Return after `stop`, when the step under way is done."""
        async with asyncio.TaskGroup() as group:
            listener = group.create_task(self._hear()) if self._listen else None
            await self._work()
            if listener is not None:
                listener.cancel()

    def stop(self) -> None:
        """End after the step under way."""
        self._stopping = True
        self._woken.set()

    async def _work(self) -> None:
        while not self._stopping:
            self._woken.clear()
            share = 0.5 + 0.4 * self._chance.lot()
            if await self._succeeds():
                await self._pause(min(self._period * share, self._at_latest()))
            else:
                await self._pause(_RETRY_SECONDS * share)

    async def _succeeds(self) -> bool:
        try:
            await self._step()
        except Unavailable as error:
            _log.warning("loop.failed", loop=self.name, error=str(error), next="tries again")
        except Exception:
            _log.exception("loop.failed", loop=self.name, next="tries again")
        else:
            return True
        STEP_ERRORS.labels(self.name).inc()
        return False

    async def _pause(self, seconds: float) -> None:
        if not self._stopping:
            await rest(self._clock, seconds, self._woken)

    async def _hear(self) -> None:
        assert self._listen is not None
        while True:
            try:
                await self._listen()
            except Exception as error:
                _log.warning("loop.deaf", loop=self.name, error=repr(error), next="listens again")
                await self._clock.sleep(_RETRY_SECONDS)
            self._woken.set()


async def rest(clock: Clock, seconds: float, until: asyncio.Event) -> None:
    """So long, or until that has happened."""
    timer = asyncio.ensure_future(clock.sleep(seconds))
    happened = asyncio.ensure_future(until.wait())
    try:
        await asyncio.wait({timer, happened}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        happened.cancel()
