"""How long to wait before the same is tried again: longer each time, and of random length.

A server may be away for days, so there is a pause after any number of failures. Pure.
"""

_ENOUGH = 60
"""Doublings after which a pause is longer than any `longest`, and still a number."""


def growing(failures: int, *, first: float, longest: float) -> float:
    """Seconds after the `failures`-th failure in a row (1, 2, …): each pause doubles the last."""
    return min(first * 2.0 ** min(failures - 1, _ENOUGH), longest)


def half_to_all(seconds: float, lot: float) -> float:
    """What is waited of it: not all come back in the same moment. `lot` is from [0, 1)."""
    return seconds * (1 + lot) / 2
