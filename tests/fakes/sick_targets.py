"""Sick targets in memory; `tests/adapters/test_sick_targets.py` runs one suite on it and on Redis.

Nothing expires here. Redis's clock is the `ManualClock`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pipeline.ports import Chance, Clock, Probe, SickTarget, Wait, Well
from pipeline.queue.sick_targets import FAR, FIRST, GAP, GRACE, LONGEST
from tests.fakes.faults import Faulty, may_fail


@dataclass
class _Sick:
    since: datetime
    until: datetime
    error: str
    failed_probes: int = 0
    probe: str | None = None
    probe_until: datetime | None = None
    slot: datetime | None = None
    held: Counter[str] = field(default_factory=Counter)


class FakeSickTargets(Faulty):
    """`pipeline.ports.SickTargets` in memory."""

    def __init__(self, clock: Clock, chance: Chance) -> None:
        super().__init__("Redis")
        self._clock = clock
        self._chance = chance
        self._sick: dict[str, _Sick] = {}

    def wipe(self) -> None:
        """FLUSHALL."""
        self._sick.clear()

    @may_fail
    async def trip(
        self, origin: str, *, probe: str | None, at_least: timedelta, error: str
    ) -> bool:
        """As the port says."""
        sick, now = self._sick.get(origin), self._clock.now()
        if sick is None and probe is not None:
            return False
        if sick is None:
            until = now + max(FIRST, min(at_least, FAR))
            self._sick[origin] = _Sick(now, until, error)
            return True
        if probe is None or sick.probe != probe:
            return False
        sick.failed_probes += 1
        period = min(FIRST * 2 ** min(sick.failed_probes, 30), LONGEST)
        sick.until, sick.error = now + max(period, min(at_least, FAR)), error
        sick.probe = sick.probe_until = None
        return True

    @may_fail
    async def ask(
        self, origin: str, queue: str, *, probe: str, within: timedelta
    ) -> Well | Probe | Wait:
        """As the port says."""
        sick, now = self._sick.get(origin), self._clock.now()
        if sick is None:
            return Well()
        if now >= sick.until and (sick.probe_until is None or now >= sick.probe_until):
            sick.probe, sick.probe_until = probe, now + within
            return Probe()
        sick.held[queue] += 1
        return Wait(self._place_in_line(sick, now) - now, sick.error)

    def _place_in_line(self, sick: _Sick, now: datetime) -> datetime:
        first = max(sick.until, now + GRACE)
        if sick.slot is None or sick.slot < first:
            sick.slot = first + GRACE - GAP
            return first
        if sick.slot + GAP > now + FAR:
            return now + FAR / 2 * (1 + self._chance.lot())
        sick.slot += GAP
        return sick.slot

    @may_fail
    async def give_back(self, origin: str, *, probe: str) -> None:
        """As the port says."""
        sick = self._sick.get(origin)
        if sick is not None and sick.probe == probe:
            sick.probe = sick.probe_until = None

    @may_fail
    async def close(self, origin: str) -> bool:
        """As the port says."""
        return self._sick.pop(origin, None) is not None

    @may_fail
    async def origins(self) -> frozenset[str]:
        """As the port says."""
        return frozenset(self._sick)

    @may_fail
    async def list(self) -> Sequence[SickTarget]:
        """As the port says."""
        return [
            SickTarget(origin, s.since, s.until, s.failed_probes, s.error, dict(s.held))
            for origin, s in sorted(self._sick.items())
        ]
