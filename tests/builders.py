"""Things to test with: each shows only what matters, the rest is usual."""

import itertools
from datetime import datetime, timedelta
from typing import Any

from pipeline.domain.body import read_spec
from pipeline.domain.execution import Ending, Execution, Succeeded, conclude
from pipeline.domain.job import Job, Submission
from pipeline.domain.states import State
from pipeline.ports import Claim
from tests.fakes.clock import START

_numbers = itertools.count(1)


def an_id() -> str:
    """A fresh id that looks like a UUID and sorts by age."""
    return f"00000000-0000-7000-8000-{next(_numbers):012x}"


def a_submission(
    *, id: str | None = None, at: datetime = START, keyed: bool = False, **body: Any
) -> Submission:
    """A submission of `body`, accepted at `at`."""
    return Submission(id or an_id(), at, read_spec(body), body, keyed)


def a_job(*, state: State = State.RUNNING, attempt: int = 1, **fields: Any) -> Job:
    """A job; `body` is what was asked for, everything else is a field of `Job`."""
    body = fields.pop("body", {})
    usual: dict[str, Any] = {
        "id": an_id(),
        "spec": read_spec(body),
        "body": body,
        "state": state,
        "due_at": START,
        "created_at": START,
        "attempt": attempt,
        "lease_id": "lease-1",
        "worker": "worker-1",
        "started_at": START,
    }
    return Job(**(usual | fields))


def an_execution(job: Job, ending: Ending | None = None, *, lot: float = 0.5) -> Execution:
    """The record of the job's attempt."""
    finished_at = (job.started_at or START) + timedelta(seconds=1)
    return conclude(job, ending or Succeeded(), finished_at=finished_at, lot=lot)


def a_claim(*, queue: str = "default", lease_id: str = "lease-1", at: datetime = START) -> Claim:
    """A claim judged at `at`."""
    return Claim(queue, lease_id, "worker-1", at, at)
