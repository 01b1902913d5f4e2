"""Jobs per minute over the next day, from all schedules: the 09:00 heap before it happens.

Schedules that fire alike are counted once and multiplied, so that a hundred thousand of them cost
little more than the different rules among them. A fire with jitter is counted as spread evenly over
it; what jitter moves beyond the day is not counted. Paused schedules do not fire; `overlap` is not
foreseen, each fire counts as a job. The current minute is counted whole. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

from pipeline.domain.cron import Cron, Gap, Repeat, read_cron
from pipeline.domain.schedule import Every, Rule, Schedule, ScheduleSpec

MINUTES = 24 * 60
_MINUTE, _SECOND, _MS = timedelta(minutes=1), timedelta(seconds=1), timedelta(milliseconds=1)
_US = timedelta(microseconds=1)
_MINUTE_US = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Alike:
    """What schedules have in common that fire at the same minutes from `first` until `last`."""

    rule: Rule
    first: datetime
    last: datetime
    jitter: float


class Forecast:
    """Fed with schedules, in parts; not for two threads at once."""

    def __init__(self, now: datetime) -> None:
        self.start = now.replace(second=0, microsecond=0)
        self.end = self.start + MINUTES * _MINUTE
        self.schedules = 0
        self._groups: Counter[_Alike] = Counter()
        self._rules: dict[tuple[str, str, Gap | None, Repeat | None], Cron] = {}

    def add(self, schedules: Iterable[Schedule]) -> None:
        """Count these too."""
        for schedule in schedules:
            if not schedule.spec.paused and schedule.next_fire_at is not None:
                self.schedules += 1
                self._groups[self._alike(schedule)] += 1

    def minute(self, number: int) -> datetime:
        """The instant at which it begins."""
        return self.start + number * _MINUTE

    def minutes(self) -> list[float]:
        """Jobs in each minute from `start` on."""
        by_jitter: defaultdict[float, list[int]] = defaultdict(lambda: [0] * MINUTES)
        for alike, count in self._groups.items():
            fires = by_jitter[alike.jitter]
            for minute, found in self._fires(alike):
                fires[minute] += count * found
        total = [0.0] * MINUTES
        for jitter, fires in by_jitter.items():
            total = [one + other for one, other in zip(total, spread(fires, jitter), strict=True)]
        return total

    @property
    def rules(self) -> int:
        """How many different ones there are: each is reckoned once."""
        return len(self._groups)

    # -- which fire alike

    def _alike(self, schedule: Schedule) -> _Alike:
        spec = schedule.spec
        first = max(self.start, spec.start_at or schedule.created_at + _MS)
        last = min(self.end, (spec.end_at or self.end) + _MS)
        if spec.cron is not None:
            first = _whole_minute_up(first)
            return _Alike(self._cron(schedule, spec.cron), first, last, spec.jitter)
        rule = schedule.rule
        assert isinstance(rule, Every)
        alike = rule if last < self.end else self._every(rule)
        return _Alike(alike, max(first, rule.anchor), last, spec.jitter)

    def _cron(self, schedule: Schedule, text: str) -> Cron:
        """One with `H` is each schedule's own (one with `THU` too: a look cannot tell)."""
        if "H" in text.upper():
            return _without_text(schedule.spec, text, schedule.id)
        spec = schedule.spec
        key = (text, spec.timezone, spec.gap, spec.repeat)
        if key not in self._rules:
            self._rules[key] = _without_text(spec, text, "")
        return self._rules[key]

    def _every(self, rule: Every) -> Every:
        """Minutes begin at whole seconds: where the period is whole seconds, so may the fires be.

        A rule that is anchored in the future keeps its anchor. So does one that ends within the
        day (its caller sees to that): the fraction may decide about its last fire.
        """
        if rule.anchor > self.start:
            return rule
        anchor = self.start + (rule.anchor - self.start) % rule.period
        if rule.period % _SECOND == timedelta(0):
            anchor = anchor.replace(microsecond=0)
        return Every(rule.period, anchor)

    # -- when they fire

    def _fires(self, alike: _Alike) -> Iterable[tuple[int, int]]:
        """(minute, how many fires), as far as there are any."""
        if isinstance(alike.rule, Every):
            return self._fires_of_every(alike.rule, alike)
        times = takewhile(lambda fire: fire < alike.last, alike.rule.fires_after(alike.first - _MS))
        return [((fire - self.start) // _MINUTE, 1) for fire in times]

    def _fires_of_every(self, rule: Every, alike: _Alike) -> Iterable[tuple[int, int]]:
        """In microseconds since `start`; by reckoning where there are many in a minute."""
        period, anchor = rule.period // _US, (rule.anchor - self.start) // _US
        first, last = ((edge - self.start) // _US for edge in (alike.first, alike.last))
        if period >= _MINUTE_US:
            begin = anchor + -((anchor - first) // period) * period
            return [(at // _MINUTE_US, 1) for at in range(begin, last, period)]
        edges = range(0, (MINUTES + 1) * _MINUTE_US, _MINUTE_US)
        before = [-((anchor - min(max(edge, first), last)) // period) for edge in edges]
        counts = enumerate(after - earlier for earlier, after in pairwise(before))
        return [(minute, count) for minute, count in counts if count]


def spread(fires: Sequence[int], jitter: float) -> list[float]:
    """Each fire spread evenly over the `jitter` seconds from the beginning of its minute."""
    if jitter <= 60:
        return [float(count) for count in fires]
    whole, rest = divmod(jitter, 60)
    jobs, rate = [0.0] * len(fires), 0.0
    for minute in range(len(fires)):
        rate += fires[minute] * 60 / jitter
        ended = minute - int(whole)
        if ended >= 0:
            rate -= fires[ended] * 60 / jitter
            jobs[minute] += fires[ended] * rest / jitter
        jobs[minute] += rate
    return [max(0.0, round(count, 9)) for count in jobs]


def _whole_minute_up(instant: datetime) -> datetime:
    """Cron fires in whole minutes: thousands made within one minute fire alike."""
    return instant + (_EPOCH - instant) % _MINUTE


def _without_text(spec: ScheduleSpec, text: str, seed: str) -> Cron:
    """`@daily` and `0 0 * * *` are one rule."""
    zone = ZoneInfo(spec.timezone)
    rule = read_cron(text, zone, seed=seed, gap=spec.gap, repeat=spec.repeat)
    return Cron(rule.fields, rule.fields, zone, spec.gap, spec.repeat)
