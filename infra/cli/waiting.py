"""Waiting for the end of a job."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from infra.cli.client import Gateway
from infra.exits import CommandFailed, Exit

FINAL = frozenset({"succeeded", "dead", "cancelled"})
_SHORTEST, _LONGEST = 0.05, 1.0


def seen(gateway: Gateway, job_id: str, timeout: float) -> Iterator[dict[str, Any]]:
    """The job each time it has changed, the last time when it has ended.

    Looks often at first and seldom later. Raises `CommandFailed` when `timeout` seconds are over.
    """
    ends = time.monotonic() + timeout
    pause, known = _SHORTEST, None
    while True:
        job = gateway.get(f"/api/jobs/{quote(job_id, safe='')}")
        if (job["status"], job["attempt"]) != known:
            known = (job["status"], job["attempt"])
            pause = _SHORTEST
            yield job
        if job["status"] in FINAL:
            return
        if time.monotonic() + pause > ends:
            text = f"job {job['id']} is still {job['status']}: waited long enough"
            raise CommandFailed(Exit.WAIT_TIMED_OUT, text)
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST)


def check_outcome(job: dict[str, Any]) -> None:
    """Raises `CommandFailed` unless the job succeeded."""
    if job["status"] != "succeeded":
        why = (job.get("last_error") or {}).get("message") or job.get("reason") or "no reason given"
        raise CommandFailed(Exit.JOB_FAILED, f"job {job['id']} is {job['status']}: {why}")
