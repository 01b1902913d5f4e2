"""Why a cron expression is refused: which word of it, and what may stand there.

`flaw_of` is asked only about an expression that cronsim has refused. What it takes is refused here
for one thing: a step beyond its field. `*/90` would fire at minute 0 alone, and nobody who writes
it means that. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_NUMBER = re.compile(r"[0-9]+")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, slots=True)
class _Field:
    """What one of the five may hold."""

    name: str
    least: int
    most: int
    names: Mapping[str, int] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    size: int = field(kw_only=True)
    """How many moments it tells apart."""

    @property
    def allowed(self) -> str:
        """In words."""
        names = list(self.names)
        named = f" or a name from {names[0]} to {names[-1]}" if names else ""
        return f"a number from {self.least} to {self.most}{named}"


FIELDS = (
    _Field("minute", 0, 59, size=60),
    _Field("hour", 0, 23, size=24),
    _Field("day-of-month", 1, 31, words=("L", "LW"), size=31),
    _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}, size=12),
    _Field("day-of-week", 0, 7, {name: number for number, name in enumerate(_DAYS)}, size=7),
)
"""The five, in their order."""


def flaw_of(fields: str) -> str | None:
    """The first thing wrong, such as "bad minute: '60' is not between 0 and 59"; None: nothing
    that can be seen in one field alone."""
    for which, text in zip(FIELDS, fields.split(), strict=True):
        for term in text.split(","):
            for flaw in _flaws(term, which):
                return f"bad {which.name}: {flaw}"
    return None


def long_step_of(fields: str) -> str | None:
    """A step that leaves the field at once, of an expression that is fine otherwise."""
    for which, text in zip(FIELDS, fields.split(), strict=True):
        for term in text.split(","):
            step = term.partition("/")[2]
            if step and int(step) > which.size:
                why = f"the step of {term!r} is more than {which.size}: say it with every"
                return f"bad {which.name}: {why}"
    return None


def _flaws(term: str, which: _Field) -> Iterator[str]:
    base, slash, step = term.partition("/")
    if base not in ("*", *which.words):
        yield from _flaws_of_base(base, which)
    if slash and (not _NUMBER.fullmatch(step) or int(step) == 0):
        yield f"the step of {term!r} is not a number from 1 up"


def _flaws_of_base(base: str, which: _Field) -> Iterator[str]:
    if which.name == "day-of-week" and "#" in base:
        day, _, nth = base.partition("#")
        yield from _flaws_of_value(day, which)
        if not (_NUMBER.fullmatch(nth) and 1 <= int(nth) <= 5):
            yield f"in {base!r} the week is not a number from 1 to 5"
    elif which.name == "day-of-week" and re.fullmatch("[0-9]+L", base):
        yield from _flaws_of_value(base[:-1], which)
    elif "-" in base:
        yield from _flaws_of_range(base, which)
    else:
        yield from _flaws_of_value(base, which)


def _flaws_of_range(base: str, which: _Field) -> Iterator[str]:
    first, _, last = base.partition("-")
    for value in (first, last):
        yield from _flaws_of_value(value, which)
    if _number(last, which) < _number(first, which):
        yield f"the range {base!r} runs backwards"


def _flaws_of_value(value: str, which: _Field) -> Iterator[str]:
    if not value:
        yield f"a value is missing: it takes * or {which.allowed}"
    elif value in which.names:
        return
    elif value == "*":
        yield "* cannot be an end of a range"
    elif not _NUMBER.fullmatch(value):
        yield f"{value!r} is not * or {which.allowed}"
    elif not which.least <= int(value) <= which.most:
        yield f"{value!r} is not between {which.least} and {which.most}"


def _number(value: str, which: _Field) -> int:
    return which.names[value] if value in which.names else int(value)
