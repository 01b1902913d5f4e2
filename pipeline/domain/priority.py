"""The order of the ready queue as one number that a person can read back.

`(9 - priority)·10^13 + due_ms`: the first digits are the priority turned round (lowest first), the
rest is the due time in Unix milliseconds. 10^13 ms is the year 2286 and 9·10^13 + 10^13 is far
below 2^53, so Redis's doubles hold every score exactly.
"""

LOWEST, HIGHEST, DEFAULT = 0, 9, 5
_STEP = 10**13


def ready_score(priority: int, due_ms: int) -> int:
    """The score of a job in the ready set: lowest runs first."""
    return (HIGHEST - priority) * _STEP + due_ms


def read_score(score: float) -> tuple[int, int]:
    """(priority, due_ms) of a score made by `ready_score`."""
    turned, due_ms = divmod(int(score), _STEP)
    return HIGHEST - turned, due_ms
