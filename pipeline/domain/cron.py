"""Cron expressions in a time zone, telling the truth about the hour that is missing and the one
that comes twice.

cronsim parses and walks the wall clock; which instants a wall-clock time stands for is decided
here. A wall-clock time may have one instant, none (the clocks went forward over it) or two (they
went back over it). What then is the user's choice (`gap`, `repeat`); the default is Debian cron's:
a fixed time that is missing fires at the moment the clock jumps, one that comes twice fires the
first time, and an expression whose hour field starts with `*` follows real time through both.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from pipeline.domain.cron_flaw import flaw_of, long_step_of
from pipeline.domain.cron_words import in_words

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 28), ("month", 1, 12), ("weekday", 0, 6))
_SPREAD = re.compile(r"H(?:\((\d+)-(\d+)\))?(?:/(\d+))?")
_NEAR = timedelta(hours=27)
"""No zone has ever moved its clocks by more than a day; from any full hour look this far for a
change."""


class Gap(StrEnum):
    """What becomes of a fire time in the hour that is missing."""

    SKIP = "skip"
    SHIFT = "shift"


class Repeat(StrEnum):
    """What becomes of a fire time in the hour that comes twice."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked expression with a zone. Made by `read_cron`; `fields` has names and `H` resolved.

    `gap` and `repeat` are what the user asked for; None leaves it to the expression.
    """

    text: str
    fields: str
    zone: ZoneInfo
    gap: Gap | None = None
    repeat: Repeat | None = None

    @property
    def _follows_real_time(self) -> bool:
        """Whether the hour field starts with `*`: then nothing is missing and nothing is double."""
        return self.fields.split()[1].startswith("*")

    @property
    def gap_chosen(self) -> Gap:
        """What was asked for, or what the expression makes of it."""
        return self.gap or (Gap.SKIP if self._follows_real_time else Gap.SHIFT)

    @property
    def repeat_chosen(self) -> Repeat:
        """The same for the hour that comes twice."""
        return self.repeat or (Repeat.BOTH if self._follows_real_time else Repeat.FIRST)

    def in_words(self) -> str:
        """The expression as a sentence, without the zone."""
        return in_words(self.fields)

    def next_after(self, instant: datetime) -> datetime | None:
        """The first fire time later than `instant`; None if there is none within fifty years."""
        moved = self._clock_change_near(instant)
        local = instant.astimezone(self.zone).replace(tzinfo=None)
        if not moved:
            return self._first_of(self._matches(local), instant)
        return self._earliest_of(self._matches(local - moved - _MINUTE), instant, moved)

    def fires_after(self, instant: datetime) -> Iterator[datetime]:
        """All fire times later than `instant`, in order."""
        found = self.next_after(instant)
        while found is not None:
            yield found
            found = self.next_after(found)

    # -- the wall clock

    def _matches(self, local: datetime) -> Iterator[datetime]:
        """Wall-clock times later than `local` that the expression names."""
        return CronSim(self.fields, local)

    def _first_of(self, matches: Iterator[datetime], instant: datetime) -> datetime | None:
        """Away from a change of the clock, wall time and real time have one order."""
        for match in matches:
            later = [found for found in self.instants_of(match) if found > instant]
            if later:
                return min(later)
        return None

    def _earliest_of(
        self, matches: Iterator[datetime], instant: datetime, moved: timedelta
    ) -> datetime | None:
        """Near one, a later wall-clock time may be an earlier instant: look twice as far."""
        best: datetime | None = None
        limit: datetime | None = None
        for match in matches:
            if limit is not None and match > limit:
                break
            for found in self.instants_of(match):
                if found > instant and (best is None or found < best):
                    best = found
                    limit = found.astimezone(self.zone).replace(tzinfo=None) + 2 * moved
        return best

    # -- real time

    def instants_of(self, local: datetime) -> list[datetime]:
        """The instants that a wall-clock time stands for, by `gap` and `repeat`."""
        first = local.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
        second = local.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        if first == second:
            return [first]
        if first.astimezone(self.zone).replace(tzinfo=None) == local:
            return self._of_double(first, second)
        return self._of_missing(second, first)

    def _of_double(self, first: datetime, second: datetime) -> list[datetime]:
        chosen = {
            Repeat.FIRST: [first],
            Repeat.SECOND: [second],
            Repeat.BOTH: [first, second],
        }
        return chosen[self.repeat_chosen]

    def _of_missing(self, before: datetime, after: datetime) -> list[datetime]:
        if self.gap_chosen is Gap.SKIP:
            return []
        return [change_between(self.zone, before, after)]

    def _clock_change_near(self, instant: datetime) -> timedelta:
        """By how much the clock changes around `instant`; nothing if it does not."""
        return _clock_change_near(self.zone, instant.replace(minute=0, second=0, microsecond=0))


def change_between(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second at which the offset is no longer that of `low`; at `high` it is not."""
    offset, low = low.astimezone(zone).utcoffset(), low.replace(microsecond=0)
    if high.microsecond:
        high = high.replace(microsecond=0) + _SECOND
    while high - low > _SECOND:
        middle = (low + (high - low) // 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high.astimezone(UTC)


@lru_cache(maxsize=4096)
def _clock_change_near(zone: ZoneInfo, hour: datetime) -> timedelta:
    """Remembered, because the schedules of one zone all ask about the same hours."""
    offsets = {
        (hour + step * _STEP).astimezone(zone).utcoffset() or timedelta(0)
        for step in range(-_STEPS, _STEPS + 1)
    }
    return max(offsets) - min(offsets)


_EPOCH = datetime(2024, 1, 1)  # noqa: DTZ001 - a wall-clock time
_MINUTE, _SECOND = timedelta(minutes=1), timedelta(seconds=1)
_STEPS = 9
_STEP = _NEAR / _STEPS


def read_cron(
    text: str,
    zone: ZoneInfo,
    *,
    seed: str,
    gap: Gap | None = None,
    repeat: Repeat | None = None,
) -> Cron:
    """Parse five fields or a nickname; raises `ValueError` with the reason.

    `H` becomes a value drawn from `seed` (the schedule's id): the same for ever, another for
    another schedule.
    """
    expression = _NICKNAMES.get(text.strip().lower(), text.strip())
    if expression.startswith("@"):
        raise ValueError(f"{text!r} is not one of {', '.join(_NICKNAMES)}")
    parts = expression.upper().split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"a cron expression has five fields, not {len(parts)}")
    fields = " ".join(_spread(part, index, seed) for index, part in enumerate(parts))
    try:
        next(CronSim(fields, _EPOCH))
    except CronSimError as error:
        raise ValueError(flaw_of(fields) or _why_not(fields, error)) from None
    except StopIteration:
        raise ValueError("it never fires: there is no such date") from None
    if flaw := long_step_of(fields):
        raise ValueError(flaw)
    return Cron(text, fields, zone, gap, repeat)


def _why_not(fields: str, error: CronSimError) -> str:
    """cronsim's complaint; of 30 February it says only that the day is bad."""
    minute, hour, day, month, weekday = fields.split()
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", _EPOCH)
    except CronSimError:
        return str(error).replace("Bad ", "bad ")
    try:
        CronSim(f"{minute} {hour} * {month} {weekday}", _EPOCH)
    except CronSimError:
        return str(error).replace("Bad ", "bad ")
    return f"bad day-of-month: it never fires, for there is no day {day} in month {month}"


def _spread(part: str, index: int, seed: str) -> str:
    """Resolve `H`, `H/n`, `H(a-b)` and `H(a-b)/n` in the terms of one field."""
    return ",".join(_spread_term(term, index, seed) for term in part.split(","))


def _spread_term(term: str, index: int, seed: str) -> str:
    found = _SPREAD.fullmatch(term)
    if found is None:
        return term
    name, least, most = _FIELDS[index]
    low, high = int(found[1] or least), int(found[2] or most)
    if not least <= low <= high <= max(most, 31 if name == "day" else most):
        raise ValueError(f"bad {name}: {term!r} is out of range")
    drawn = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8])
    if found[3] is None:
        return str(low + drawn % (high - low + 1))
    step = int(found[3])
    if not 1 <= step <= high - low + 1:
        raise ValueError(f"bad {name}: the step of {term!r} is out of range")
    return f"{low + drawn % step}-{high}/{step}"
