"""A cron expression as a sentence: cronsim's, where that says what happens.

Of `5/15` cronsim says "every 15th minute from 5 through 59", which may be read as the minutes 15,
30 and 45. Where they are few, the moments themselves are named. Pure.
"""

import re
from datetime import datetime

from cronsim import CronSim

from pipeline.domain.cron_flaw import FIELDS

_FEW = 12
_TERM = re.compile(r"(\d+)(?:(?:-(\d+))?/(\d+))?")
"""A number, or steps that do not begin with `*`."""
_WEEKDAY = 4
_ORDINAL = re.compile(r"\b([02-9]?)([123])th\b")
_ENDINGS = {"1": "st", "2": "nd", "3": "rd"}
_EPOCH = datetime(2024, 1, 1)  # noqa: DTZ001 - a wall-clock time


def in_words(fields: str) -> str:
    """The sentence of five checked fields without `H`."""
    sentence = CronSim(spelled_out(fields), _EPOCH).explain()
    return _ORDINAL.sub(lambda found: found[0][:-2] + _ENDINGS[found[2]], sentence)


def spelled_out(fields: str) -> str:
    """An expression that fires at the same moments, with lists instead of few steps."""
    return " ".join(_listed(field, place) for place, field in enumerate(fields.split()))


def _listed(field: str, place: int) -> str:
    terms = {value for term in field.split(",") for value in _values(term, place)}
    return ",".join(sorted(terms, key=lambda term: (term.isdecimal(), len(term), term)))


def _values(term: str, place: int) -> list[str]:
    """The numbers that it stands for, if they are few; Sunday has one of its two."""
    found = _TERM.fullmatch(term)
    if found is None:
        return [term]
    least, most = FIELDS[place].least, FIELDS[place].most
    first, step = int(found[1]), int(found[3] or 1)
    last = int(found[2] or (most if found[3] else first))
    values = range(first, last + 1, step)
    if len(values) > _FEW or (first, last) == (least, most):
        return [term]
    return [str(value % 7 if place == _WEEKDAY else value) for value in values]
