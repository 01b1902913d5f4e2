"""Spans of time as a person says them. Pure."""

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def in_words(seconds: float) -> str:
    """Exact to the millisecond, in the largest unit that makes it a whole number."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return _counted(str(int(seconds // size)), unit)
    return _counted(f"{seconds:.3f}".rstrip("0").rstrip("."), "second")


def each(seconds: float) -> str:
    """The same after "every": not "every 1 hour"."""
    return in_words(seconds).removeprefix("1 ")


def _counted(number: str, unit: str) -> str:
    return f"{number} {unit}{'' if number == '1' else 's'}"
