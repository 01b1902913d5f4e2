"""Redis: hosts that do not answer, and who asks them whether they do again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SickTarget:
    """A target of http jobs (scheme, host, port) that does not answer as it should.

    `probe_at`: no request goes there before. `held`: how often a job of each queue was held back.
    """

    origin: str
    since: datetime
    probe_at: datetime
    failed_probes: int
    error: str
    held: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Well:
    """The target is not known to be sick."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The target is sick; the asker, and nobody else, may try it now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The target is sick; it is worth asking again after `delay`."""

    delay: timedelta
    error: str


class SickTargets(Protocol):
    """Redis: which targets are sick, known to all workers. A hint: losing it costs a few attempts.

    Every method is one atomic script.
    """

    async def trip(
        self, origin: str, *, probe: str | None, at_least: timedelta, error: str
    ) -> bool:
        """It is sick: hold its jobs back for a while; whether that is news.

        Of a target known to be sick only the failure of its `probe` is news; of one that is well
        the failure of a probe is none.
        """
        ...

    async def ask(
        self, origin: str, queue: str, *, probe: str, within: timedelta
    ) -> Well | Probe | Wait:
        """Whether a job of `queue` may go there. As a probe it must be done `within`."""
        ...

    async def give_back(self, origin: str, *, probe: str) -> None:
        """This probe has learnt nothing: the next who asks is one. Another probe is left alone."""
        ...

    async def close(self, origin: str) -> bool:
        """It has answered; whether that is news."""
        ...

    async def origins(self) -> frozenset[str]:
        """Those that are sick."""
        ...

    async def list(self) -> Sequence[SickTarget]:
        """What is known of them, by origin."""
        ...
