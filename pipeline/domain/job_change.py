"""What an owner changes in a job that waits: a JSON Merge Patch (RFC 7396) of what was asked for.

The whole is checked again, as if it had been asked for so. The due time stays what it is, a retry's
too, unless the change speaks of it: `run_at` and `delay` take each other's place, `delay` counts
from the change, and neither of them means now. The idempotency key is the job's identity: a change
leaves it and its fingerprint alone, so that the first submission, sent again, still finds its job.
Pure.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from pipeline.domain.body import MAX_JOB_BYTES, read_spec
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.job import Job
from pipeline.domain.merge_patch import merged
from pipeline.domain.states import Event, target_of

_TIMES = ("run_at", "delay")


def changed(job: Job, patch: Any, now: datetime) -> Job:
    """The job after the change; itself if the patch changes nothing. Raises `Rejected`."""
    _check(patch)
    is_retimed = any(name in patch for name in _TIMES)
    body = merged(_without_times(job.body) if is_retimed else job.body, patch)
    if len(to_json(body)) > MAX_JOB_BYTES:
        text = f"the job would have more than {MAX_JOB_BYTES} bytes"
        raise Rejected("too_large", Flaw("", text))
    spec = read_spec(body)
    if body == job.body and not is_retimed:
        return job
    return replace(
        job,
        spec=spec,
        body=body,
        state=target_of(Event.CHANGE),
        due_at=spec.due_after(now) if is_retimed else job.due_at,
        expires_at=spec.expires_at if "expires_at" in patch else job.expires_at,
    )


def _check(patch: Any) -> None:
    if not isinstance(patch, dict):
        raise Rejected("invalid", Flaw("", "a change is a JSON object (RFC 7396)"))
    if "idempotency_key" in patch:
        flaw = Flaw("/idempotency_key", "is the identity of the job and cannot be changed")
        raise Rejected("invalid", flaw)


def _without_times(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _TIMES}
