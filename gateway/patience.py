"""Waiting for something to appear in the store, with few questions.

The first looks follow quickly, for most jobs are stored and done within milliseconds; then the
steps double up to half a second.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from pipeline.ports import Clock

FIRST_SECONDS, LONGEST_SECONDS = 0.005, 0.5
Seen = TypeVar("Seen")


async def appears(
    ask: Callable[[], Awaitable[Seen | None]],
    within: timedelta,
    clock: Clock,
    given_up: Callable[[], bool] = lambda: False,
) -> Seen | None:
    """What `ask` answers as soon as it answers; None if it has not in time or `given_up` says so.

    Asks at least once.
    """
    deadline = clock.monotonic() + within.total_seconds()
    step = FIRST_SECONDS
    while (seen := await ask()) is None:
        left = deadline - clock.monotonic()
        if left <= 0 or given_up():
            return None
        await clock.sleep(min(step, left))
        step = min(step * 2, LONGEST_SECONDS)
    return seen
