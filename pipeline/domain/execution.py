"""How an attempt ended, and what follows from it.

An executor says how the attempt ended (`Ending`). `conclude` turns that into the record
(`Execution`) which carries the decision: the event that happens to the job, and the delay until it
is due again with the jitter already drawn. Whoever reads the record can therefore settle the job,
and all who do come to the same (R6, R7). Pure: no clock, no chance, no I/O.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

from pipeline.domain.instants import rfc3339
from pipeline.domain.job import Job, OnLost, Reason
from pipeline.domain.states import Event

_LONGEST_DELAY = timedelta(days=366)
"""What a server may ask for by Retry-After; no due time may lie beyond what MongoDB can write."""


class Outcome(StrEnum):
    """How an attempt ended, in one word."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What went wrong: a short type, one sentence, and the long story (a traceback, a tail)."""

    type: str
    message: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The code returned `result` (a JSON value); `report` is what the kind adds."""

    result: Any = None
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The code failed; `retry_after` overrides the policy's delay."""

    error: ErrorInfo
    retryable: bool = True
    retry_after: timedelta | None = None
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The code took longer than the job's timeout and was stopped."""

    error: ErrorInfo
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lost:
    """Its worker vanished: the lease ran out. `report` is what is known of the end of it."""

    error: ErrorInfo
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody cancelled the job while it ran. `report` is what it had told by then."""

    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Released:
    """Its worker gave it back unfinished, to be run again at once."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Not begun: it would have been in vain now. Given back, due again after `delay`.

    Nothing of it was done, so it counts as nothing, whatever `on_lost` says (H6).
    """

    error: ErrorInfo
    delay: timedelta


Ending = Succeeded | Failed | TimedOut | Lost | Cancelled | Released | HeldBack


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to the job; `delay` until it is due again, `reason` if it dies."""

    event: Event
    delay: timedelta = timedelta(0)
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """The record of one attempt; `(job_id, attempt)` is unique and the first insert stands."""

    job_id: str
    attempt: int
    outcome: Outcome
    decision: Decision
    worker: str | None
    lease_id: str | None
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime
    result: Any = None
    error: ErrorInfo | None = None
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`<job id>/<attempt>`."""
        return f"{self.job_id}/{self.attempt}"


LATE = "late"
"""In the report of a record: the result that came when this record stood already."""
_RESULTS = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT)


def late_note(stands: Execution, offered: Execution) -> dict[str, str] | None:
    """What is noted beside `stands` of the result that was refused for it: the code did run to an
    end, and its side effect has happened. None if `offered` is no result, or stands itself (H2).
    """
    is_the_same = (stands.outcome, stands.lease_id) == (offered.outcome, offered.lease_id)
    if is_the_same or offered.outcome not in _RESULTS:
        return None
    return {"outcome": offered.outcome.value, "finished_at": rfc3339(offered.finished_at)}


def conclude(job: Job, ending: Ending, *, finished_at: datetime, lot: float) -> Execution:
    """The record of the running attempt of `job`, as it was when it started.

    `lot` is drawn from [0, 1) for the jitter of a retry.
    """
    if isinstance(ending, Released) and job.spec.on_lost is OnLost.DEAD:
        # At most once: what has begun is never run again, so it cannot be given back (H6).
        ending = Lost(ErrorInfo("lost", "the worker stopped; on_lost is dead"))
    return Execution(
        job_id=job.id,
        attempt=job.attempt,
        outcome=_outcome(ending),
        decision=_decide(job, ending, lot),
        worker=job.worker,
        lease_id=job.lease_id,
        queued_at=job.queued_at,
        started_at=job.started_at,
        finished_at=finished_at,
        result=getattr(ending, "result", None),
        error=getattr(ending, "error", None),
        report=getattr(ending, "report", {}),
    )


def _outcome(ending: Ending) -> Outcome:
    match ending:
        case Succeeded():
            return Outcome.SUCCEEDED
        case Failed():
            return Outcome.FAILED
        case TimedOut():
            return Outcome.TIMED_OUT
        case Lost():
            return Outcome.LOST
        case Cancelled():
            return Outcome.CANCELLED
        case Released() | HeldBack():
            return Outcome.RELEASED
        case _:
            assert_never(ending)


def _decide(job: Job, ending: Ending, lot: float) -> Decision:
    match ending:
        case Succeeded():
            return Decision(Event.SUCCEED)
        case Failed(retryable=False):
            return Decision(Event.DIE, reason="not_retryable")
        case Failed(retry_after=after):
            return _after_failure(job, lot, after)
        case TimedOut():
            return _after_failure(job, lot, None)
        case Lost():
            return _after_loss(job)
        case Cancelled():
            return Decision(Event.CANCEL)
        case Released():
            return Decision(Event.RELEASE)
        case HeldBack(delay=delay):
            return Decision(Event.RELEASE, delay=min(delay, _LONGEST_DELAY))
        case _:
            assert_never(ending)


def _after_failure(job: Job, lot: float, after: timedelta | None) -> Decision:
    failures = job.failures + 1
    if not job.spec.retry.allows_another(failures):
        return Decision(Event.DIE, reason="exhausted")
    if after is None:
        return Decision(Event.RETRY, delay=job.spec.retry.delay_after(failures, lot))
    return Decision(Event.RETRY, delay=min(max(after, timedelta(0)), _LONGEST_DELAY))


def _after_loss(job: Job) -> Decision:
    if job.spec.on_lost is OnLost.DEAD:
        return Decision(Event.DIE, reason="lost")
    if job.losses + 1 >= job.spec.max_lost:
        return Decision(Event.DIE, reason="poison")
    return Decision(Event.LOSE)
