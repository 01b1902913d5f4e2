"""Jobs and executions as MongoDB documents, and back; nothing else.

`jobs` `_id` is the job's id, `spec` is what the user asked for, word for word; `executions` `_id`
is `<job id>/<attempt>`. What is None is left out. Of a job's fields a tombstone has `_id`, `state`,
`fingerprint` and `attempt`; `buried_at` is its own.
"""

from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from pipeline.domain.body import read_spec
from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Decision, ErrorInfo, Execution, Outcome
from pipeline.domain.identity import fingerprint
from pipeline.domain.job import Entry, Job, JobSpec, Submission
from pipeline.domain.limits import KeyLimit
from pipeline.domain.states import Event, State
from pipeline.store.connect import Document

UNREADABLE = "of-another-version"
"""The task of a job whose spec this version cannot read; nobody registers it."""

_JOB_EXTRAS = (
    "queued_at",
    "started_at",
    "finished_at",
    "worker",
    "lease_id",
    "reason",
    "expires_at",
    "schedule_id",
    "fire_time",
    "traceparent",
)


def new_job(submission: Submission, now: datetime) -> Document:
    """The document of a job that arrives at `now`: `queued` if it is due, else `pending`."""
    spec = submission.spec
    due_at = submission.due_at
    document: Document = {
        "_id": submission.id,
        "state": State.QUEUED.value if due_at <= now else State.PENDING.value,
        "queue": spec.queue,
        "priority": spec.priority,
        "kind": spec.kind.value,
        "due_at": due_at,
        "attempt": 0,
        "failures": 0,
        "losses": 0,
        "created_at": submission.accepted_at,
        "spec": submission.body,
    }
    if due_at <= now:
        document["queued_at"] = now
    if spec.expires_at is not None:
        document["expires_at"] = spec.expires_at
    if submission.keyed:
        document["fingerprint"] = fingerprint(submission.body)
    if submission.schedule_id is not None:
        document["schedule_id"] = submission.schedule_id
    if submission.fire_time is not None:
        document["fire_time"] = submission.fire_time
    if submission.traceparent is not None:
        document["traceparent"] = submission.traceparent
    return document


def to_job(document: Document) -> Job:
    """The job in a document of `jobs` that is no tombstone."""
    extras = {name: document[name] for name in _JOB_EXTRAS if name in document}
    return Job(
        id=document["_id"],
        spec=_spec_of(document),
        body=document["spec"],
        state=State(document["state"]),
        due_at=document["due_at"],
        created_at=document["created_at"],
        attempt=document["attempt"],
        failures=document["failures"],
        losses=document["losses"],
        **extras,
    )


def _spec_of(document: Document) -> JobSpec:
    """The spec; of one that this version does not understand only what the queue needs.

    Another version stored it. Its neighbours must not suffer for it (R3), and whoever starts it
    finds no such task: `failed`, type `unsupported`, and the retry policy gives the others a turn.
    """
    try:
        return read_spec(document["spec"])
    except Rejected:
        return JobSpec(queue=document["queue"], priority=document["priority"], task=UNREADABLE)


def to_entry(document: Document) -> Entry:
    """What Redis has to know of a job; needs only its `queue`, `due_at`, `priority` and limits."""
    limit = _limit_of(document.get("spec", {}).get("limits"))
    document_id, due_at = document["_id"], document["due_at"]
    return Entry(document_id, document["queue"], due_at, document["priority"], limit)


def _limit_of(asked: Any) -> KeyLimit | None:
    """None, too, for one that this version does not understand, as for the rest of such a job."""
    try:
        return None if asked is None else KeyLimit.model_validate(asked)
    except ValidationError:
        return None


def from_execution(execution: Execution) -> Document:
    """The document of an execution."""
    document: Document = {
        "_id": execution.id,
        "job_id": execution.job_id,
        "attempt": execution.attempt,
        "outcome": execution.outcome.value,
        "decision": _from_decision(execution.decision),
        "worker": execution.worker,
        "lease_id": execution.lease_id,
        "queued_at": execution.queued_at,
        "started_at": execution.started_at,
        "finished_at": execution.finished_at,
    }
    if execution.result is not None:
        document["result"] = execution.result
    if execution.error is not None:
        document["error"] = _from_error(execution.error)
    if execution.report:
        document["report"] = execution.report
    return document


def to_execution(document: Document) -> Execution:
    """The execution in a document of `executions`."""
    error = document.get("error")
    return Execution(
        job_id=document["job_id"],
        attempt=document["attempt"],
        outcome=Outcome(document["outcome"]),
        decision=_to_decision(document["decision"]),
        worker=document["worker"],
        lease_id=document["lease_id"],
        queued_at=document["queued_at"],
        started_at=document["started_at"],
        finished_at=document["finished_at"],
        result=document.get("result"),
        error=None if error is None else ErrorInfo(**error),
        report=document.get("report", {}),
    )


def _from_decision(decision: Decision) -> Document:
    document: dict[str, Any] = {"event": decision.event.value}
    if decision.delay:
        document["delay_seconds"] = decision.delay.total_seconds()
    if decision.reason is not None:
        document["reason"] = decision.reason
    return document


def _to_decision(document: Document) -> Decision:
    delay = timedelta(seconds=document.get("delay_seconds", 0.0))
    return Decision(Event(document["event"]), delay, document.get("reason"))


def _from_error(error: ErrorInfo) -> Document:
    document: Document = {"type": error.type, "message": error.message}
    if error.detail is not None:
        document["detail"] = error.detail
    return document
