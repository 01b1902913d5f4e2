"""What an executor is, and the limits that all of them keep.

An executor runs the code of one attempt and says how it ended. It never raises but on cancellation:
whatever users' code, servers or programs do is an `Ending`. Everything in an ending can be stored:
text is valid Unicode, sizes are capped.
"""

import asyncio
import signal
from collections.abc import Awaitable
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from pipeline.domain.execution import Ending, ErrorInfo, Failed, Succeeded, TimedOut
from pipeline.domain.job import Job
from pipeline.domain.text import storable

MESSAGE_CHARS = 2000
DETAIL_CHARS = 16 * 1024
OUTPUT_BYTES = 64 * 1024

W = TypeVar("W", contravariant=True)


class Executor(Protocol[W]):
    """Runs one kind of work; may be cancelled at any time and leaves nothing running then."""

    async def run(self, job: Job, work: W) -> Ending:
        """Run this attempt of `job` to its end."""
        ...


Runaway = Future[Any] | asyncio.Task[Any]
"""Code that runs on after its attempt has ended: a thread, which nobody can stop, or a coroutine
that will not be cancelled."""


def failed(
    type: str,
    message: str,
    *,
    detail: str | None = None,
    retryable: bool = True,
    retry_after: timedelta | None = None,
    report: dict[str, object] | None = None,
) -> Failed:
    """A failure with its texts made storable: the start of the message, the end of the detail."""
    info = ErrorInfo(
        type,
        storable(message[:MESSAGE_CHARS]),
        None if detail is None else storable(detail[-DETAIL_CHARS:]),
    )
    return Failed(info, retryable=retryable, retry_after=retry_after, report=report or {})


def timed_out(
    seconds: float, report: dict[str, object] | None = None, *, what: str = "not done"
) -> TimedOut:
    """It took longer than it may; `what` has not happened meanwhile."""
    return TimedOut(ErrorInfo("timeout", f"{what} within {seconds:g} s"), report=report or {})


async def within(seconds: float, run: Awaitable[Ending]) -> Ending:
    """The ending; code that had its time and was stopped has timed out, whatever it answers."""
    try:
        async with asyncio.timeout(seconds) as limit:
            ending = await run
    except TimeoutError:
        return timed_out(seconds)
    return timed_out(seconds) if limit.expired() else ending


def reporting(ending: Ending, told: dict[str, object]) -> Ending:
    """The ending, with what its attempt has told beside what its kind reports."""
    match ending:
        case Succeeded() | Failed() | TimedOut() if told:
            return replace(ending, report={**told, **ending.report})
        case _:
            return ending


def signal_name(number: int) -> str:
    """`SIGKILL`; most of the realtime signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
