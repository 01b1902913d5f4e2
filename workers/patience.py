"""Getting over an outage: the same step again, with growing, jittered pauses."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipeline.domain.errors import Unavailable
from pipeline.domain.pauses import growing, half_to_all
from pipeline.ports import Chance, Clock
from pipeline.telemetry import log

_FIRST, _LONGEST = 0.05, 2.0

_log = log(__name__)
T = TypeVar("T")


class Patience:
    """Every step given to it may be repeated after `UnknownOutcome` and comes to the same."""

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._clock = clock
        self._chance = chance

    def pause_after(self, tries: int) -> float:
        """Seconds to wait after the `tries`-th failure."""
        whole = growing(tries, first=_FIRST, longest=_LONGEST)
        return half_to_all(whole, self._chance.lot())

    async def pause(self, tries: int) -> None:
        """Wait after the `tries`-th failure."""
        await self._clock.sleep(self.pause_after(tries))

    async def persist(self, name: str, step: Callable[[], Awaitable[T]], *, until: float) -> T:
        """What `step` returns, however often it takes; its `Unavailable` once `until` has come."""
        tries = 0
        while True:
            try:
                return await step()
            except Unavailable as error:
                tries += 1
                pause = self.pause_after(tries)
                if self._clock.monotonic() + pause >= until:
                    raise
                if tries == 1:
                    _log.warning("step.failed", step=name, error=str(error), next="again and again")
                await self._clock.sleep(pause)
