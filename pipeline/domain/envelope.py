"""The gateway's own message (routing key `job.accepted`): jobs that already have an identity.

A JSON array of `{id, accepted_at, traceparent, spec}`, at most 500 jobs and 1 MiB a message;
`keyed` says that the id comes from an idempotency key, `schedule_id` and `fire_time` that a
schedule was triggered by hand. Anybody may publish to the exchange, so the
reader checks every field like a stranger's.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from pipeline.domain.body import check_value, read_spec
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.job import FIRST_INSTANT, LAST_INSTANT, Submission

SUBMIT_KEY, ACCEPTED_KEY = "job.submit", "job.accepted"
MAX_JOBS, MAX_BYTES = 500, 1024 * 1024
_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def encode_accepted(submissions: Sequence[Submission]) -> Iterator[bytes]:
    """The messages that carry these submissions, each within both limits, in order."""
    parts: list[bytes] = []
    size = 2
    for submission in submissions:
        part = to_json(_envelope(submission))
        if parts and (len(parts) >= MAX_JOBS or size + len(part) + 1 > MAX_BYTES):
            yield b"[" + b",".join(parts) + b"]"
            parts, size = [], 2
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield b"[" + b",".join(parts) + b"]"


def encode_element(submission: Submission) -> bytes:
    """One of them alone, with its identity; the reader takes it as it takes an array."""
    return to_json(_envelope(submission))


def _envelope(submission: Submission) -> dict[str, Any]:
    envelope: dict[str, Any] = {
        "id": submission.id,
        "accepted_at": submission.accepted_at.isoformat(),
        "spec": submission.body,
    }
    if submission.keyed:
        envelope["keyed"] = True
    if submission.traceparent is not None:
        envelope["traceparent"] = submission.traceparent
    if submission.schedule_id is not None:
        envelope["schedule_id"] = submission.schedule_id
    if submission.fire_time is not None:
        envelope["fire_time"] = submission.fire_time.isoformat()
    return envelope


def read_accepted(value: Any) -> Submission:
    """One element of the array, checked; raises `Rejected` with pointers into the element."""
    if not isinstance(value, dict):
        raise Rejected("invalid", Flaw("", "must be an object with id, accepted_at and spec"))
    try:
        check_value(value.get("spec"))
        spec = read_spec(value.get("spec"))
    except Rejected as error:
        moved = (Flaw(f"/spec{flaw.pointer}", flaw.detail) for flaw in error.flaws)
        raise Rejected(error.code, *moved) from None
    schedule_id, fire_time = value.get("schedule_id"), value.get("fire_time")
    return Submission(
        id=_job_id("/id", value.get("id")),
        accepted_at=_instant("/accepted_at", value.get("accepted_at")),
        spec=spec,
        body=value["spec"],
        keyed=value.get("keyed") is True,
        traceparent=_traceparent(value.get("traceparent")),
        schedule_id=None if schedule_id is None else _job_id("/schedule_id", schedule_id),
        fire_time=None if fire_time is None else _instant("/fire_time", fire_time),
    )


def _job_id(pointer: str, value: Any) -> str:
    if isinstance(value, str) and _CANONICAL.fullmatch(value):  # ours: as it is
        return value
    try:
        return str(UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise Rejected("invalid", Flaw(pointer, "must be a UUID")) from None


def _instant(pointer: str, value: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        instant = None
    if instant is None or instant.utcoffset() != timedelta(0):
        raise Rejected("invalid", Flaw(pointer, "must be an RFC 3339 time in UTC"))
    if not FIRST_INSTANT <= instant < LAST_INSTANT:
        raise Rejected("invalid", Flaw(pointer, "must lie between 1970 and 2200"))
    return instant


def _traceparent(value: Any) -> str | None:
    """It becomes a header of requests to others: nothing but a trace context may pass."""
    if value is None or (isinstance(value, str) and _TRACEPARENT.fullmatch(value)):
        return value
    raise Rejected("invalid", Flaw("/traceparent", "must be a W3C trace context"))
