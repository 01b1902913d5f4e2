"""What a schedule will do, told so that nobody is surprised by the clock.

The next fires, each with a note where the clock has a say in it: a wall-clock time that does not
exist and fires at the moment of the change or not at all, one that comes twice, and every change of
the clock since the fire before. Agrees with `Schedule.next_after`, which the watchers go by. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from pipeline.domain import spans
from pipeline.domain.cron import Cron, Gap, Repeat, change_between
from pipeline.domain.job import LAST_INSTANT
from pipeline.domain.schedule import Rule, Schedule

_MS, _MINUTE = timedelta(milliseconds=1), timedelta(minutes=1)
_STEP = timedelta(hours=12)
"""No zone changes its clocks twice within this."""
_MOST_NAMED = 2


@dataclass(frozen=True, slots=True)
class ClockChange:
    """From `at` on the local time is `after` ahead of UTC and no longer `before`."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def local_before(self) -> datetime:
        """The wall-clock time at which it changes."""
        return self.at.replace(tzinfo=None) + self.before

    @property
    def local_after(self) -> datetime:
        """The wall-clock time to which it changes."""
        return self.at.replace(tzinfo=None) + self.after

    def in_words(self) -> str:
        """As a sentence."""
        way = "forward" if self.after > self.before else "back"
        day = self.local_before.date()
        return f"on {day} the clock goes {way} from {_time(self.local_before)} to " + (
            _time(self.local_after)
            if self.local_after.date() == day
            else f"{self.local_after:%Y-%m-%d} {_time(self.local_after)}"
        )


@dataclass(frozen=True, slots=True)
class PreviewedFire:
    """A fire time, in UTC, and what the clock does to it."""

    at: datetime
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Preview:
    """The next fires, and each change of the clock up to the last of them."""

    fires: Sequence[PreviewedFire]
    changes: Sequence[ClockChange]


def preview(schedule: Schedule, now: datetime, count: int) -> Preview:
    """The next `count` fires after `now`; fewer if there are no more of them before 2200.

    What the clock does before `start_at` happens to no fire and is not told.
    """
    times = list(takewhile(lambda at: at < LAST_INSTANT, islice(_fires(schedule, now), count)))
    if not times:
        return Preview((), ())
    begin = max(now, (schedule.spec.start_at or now) - _MS)  # `start_at` may be the change itself
    changes = list(clock_changes(ZoneInfo(schedule.spec.timezone), begin, times[-1]))
    rule, spread = schedule.rule, _spread(schedule.spec.jitter)
    fires, since = [], 0
    for at in times:
        until = since
        while until < len(changes) and changes[until].at <= at:
            until += 1
        fires.append(PreviewedFire(at, _notes(rule, at, changes[since:until]) + spread))
        since = until
    return Preview(fires, changes)


def clock_changes(zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[ClockChange]:
    """Every change of the zone's offset later than `after` and not later than `until`."""
    low, offset = after, _offset(zone, after)
    while low < until:
        high = min(low + _STEP, until)
        if _offset(zone, high) != offset:
            at = change_between(zone, low, high)
            yield ClockChange(at, offset, _offset(zone, at))
            high, offset = at, _offset(zone, at)
        low = high


def _fires(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    found = schedule.next_after(now)
    while found is not None:
        yield found
        found = schedule.next_after(found)


# -- notes


def _notes(rule: Rule, at: datetime, changes: Sequence[ClockChange]) -> list[str]:
    notes = [] if len(changes) > _MOST_NAMED else [change.in_words() for change in changes]
    if len(changes) > _MOST_NAMED:
        notes.append(f"the clock changes {len(changes)} times before this")
    if isinstance(rule, Cron):
        notes += [note for change in changes if (note := _missing(rule, change, at))]
        notes += _doubled(rule, at)
    return notes


def _spread(jitter: float) -> list[str]:
    """Which moment it is, is drawn with the schedule's id: one that is not stored has none."""
    return [f"its job is due up to {spans.in_words(jitter)} later (jitter)"] if jitter else []


def _missing(rule: Cron, change: ClockChange, at: datetime) -> str | None:
    """The wall-clock times of the expression over which the clock goes forward."""
    from_here = CronSim(rule.fields, change.local_before - _MINUTE)
    lost = list(takewhile(lambda local: local < change.local_after, from_here))
    if not lost:
        return None
    day, first, last = lost[0].date(), _time(lost[0]), _time(lost[-1])
    what = f"{first} of {day} does not exist"
    if len(lost) > 1:
        what = f"{len(lost)} times from {first} to {last} of {day} do not exist"
    if rule.gap_chosen is Gap.SKIP:
        return f"{what}: skipped (gap: skip)"
    if at == change.at:
        return f"{what}: fires at the moment of the change (gap: shift)"
    return None  # that fire was before `start_at`


def _doubled(rule: Cron, at: datetime) -> list[str]:
    """Whether this wall-clock time comes twice, which of the two it is, and whether both fire."""
    local = at.astimezone(rule.zone)
    first, second = (local.replace(fold=fold).utcoffset() for fold in (0, 1))
    if first == second:
        return []
    which = "second" if local.fold else "first"
    repeat = rule.repeat_chosen
    fires = f"the {which} of two fires" if repeat is Repeat.BOTH else f"fires the {which} time only"
    return [f"{_time(local)} comes twice on {local.date()}: {fires} (repeat: {repeat})"]


def _time(local: datetime) -> str:
    return f"{local:%H:%M:%S}".removesuffix(":00")


# -- changes


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)
