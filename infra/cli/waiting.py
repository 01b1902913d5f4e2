"""Waiting for the end of a job."""

import time
from collections.abc import Iterator
from typing import Any

from infra.cli.client import Gateway, path
from infra.exits import CommandFailed, Exit

FINAL = frozenset({"succeeded", "dead", "cancelled"})
_SHORTEST, _LONGEST = 0.05, 1.0


def seen(gateway: Gateway, job_id: str, timeout: float) -> Iterator[dict[str, Any]]:
    """The job each time it has changed, the last time when it has ended. Raises as `looks`."""
    known = None
    for job in looks(gateway, job_id, timeout):
        if _state_of(job) != known:
            known = _state_of(job)
            yield job


def looks(gateway: Gateway, job_id: str, timeout: float) -> Iterator[dict[str, Any]]:
    """The job as it is again and again, the last time when it has ended.

    Looks often after a change and seldom later. Raises `CommandFailed` when `timeout` seconds are
    over.
    """
    ends = time.monotonic() + timeout
    pause, known = _SHORTEST, None
    while True:
        job = gateway.get(path("jobs", job_id))
        if _state_of(job) != known:
            known, pause = _state_of(job), _SHORTEST
        yield job
        if job["status"] in FINAL:
            return
        if time.monotonic() + pause > ends:
            raise CommandFailed(Exit.WAIT_TIMED_OUT, _still(job))
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST)


def _still(job: dict[str, Any]) -> str:
    text = f"job {job['id']} is still {job['status']}: waited long enough"
    if job["status"] != "queued":
        return text
    return f"{text}; `dueq queue show {job['queue']}` tells what it waits for"


def _state_of(job: dict[str, Any]) -> tuple[str, int]:
    return job["status"], job["attempt"]


def check_outcome(job: dict[str, Any]) -> None:
    """Raises `CommandFailed` unless the job succeeded."""
    if job["status"] != "succeeded":
        why = (job.get("last_error") or {}).get("message") or job.get("reason") or "no reason given"
        raise CommandFailed(Exit.JOB_FAILED, f"job {job['id']} is {job['status']}: {why}")
