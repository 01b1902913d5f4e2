"""Time and chance: all that a run does not decide itself, so that it can be replayed."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time. Only a clock tells it and sleeps."""

    def now(self) -> datetime:
        """The instant by MongoDB's clock: our monotonic clock plus the measured offset (R11)."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; the only sleep there is."""
        ...


class Chance(Protocol):
    """Everything random, so that a run can be replayed from a seed."""

    def job_id(self) -> str:
        """A fresh UUIDv7."""
        ...

    def token(self) -> str:
        """A fresh short word: lease ids, claim ids, worker ids."""
        ...

    def lot(self) -> float:
        """A number from [0, 1)."""
        ...
