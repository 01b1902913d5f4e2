"""What tests of every kind lean on."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, overload

Seen = TypeVar("Seen")


@overload
async def eventually(
    predicate: Callable[[], Awaitable[Seen]], timeout: float = ..., every: float = ...
) -> Seen: ...
@overload
async def eventually(
    predicate: Callable[[], Seen], timeout: float = ..., every: float = ...
) -> Seen: ...
async def eventually(
    predicate: Callable[[], Any], timeout: float = 10.0, every: float = 0.02
) -> Any:
    """Asks until the answer is truthy, and returns it.

    An AssertionError, OSError or LookupError of the predicate counts as "not yet". After `timeout`
    seconds the test fails and says what the predicate said last.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = predicate()
            last = await answer if inspect.isawaitable(answer) else answer
            if last:
                return last
        except (AssertionError, OSError, LookupError) as not_yet:
            last = not_yet
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {timeout} s; last: {last!r}")
        await asyncio.sleep(every)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
