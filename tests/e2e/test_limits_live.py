"""Limits and poison, as a person meets them: over HTTP, on the command line, with real workers."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import STOP_SECONDS, Up, command, up
from tests.support import eventually

FUNCTIONS = """
import os, signal, time
from workers import task


@task("sleeps")
def sleeps(payload, context):
    began = time.time()
    time.sleep(payload)
    return [began, time.time()]


@task("fails")
def fails(payload, context):
    raise ValueError("as asked")


@task("kills.its.worker")
def kills_its_worker(payload, context):
    print("these are my last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
OWN = ("counted", "narrow")
"""Each the queue of one test, which sets its limits."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Two workers and short leases: the reaper acts within seconds. Two more for `OWN` queues."""
    folder: Path = tmp_path_factory.mktemp("limits")
    (folder / "functions.py").write_text(FUNCTIONS)
    arguments = ("--concurrency", "8", "--import", "functions")
    queues = [f"--queue={queue}" for queue in OWN]
    with (
        up(folder, "--workers", "2", *arguments, DUEQ_LEASE_SECONDS="2") as running,
        worker(running, "--processes", "2", *arguments, *queues),
    ):
        yield running


@contextmanager
def worker(system: Up, *arguments: str) -> Iterator[None]:
    """It finds the servers of the system in its folder."""
    with (system.folder / "worker.log").open("w") as log:
        process = subprocess.Popen(
            command("worker", *arguments), cwd=system.folder, env=system.environment, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=STOP_SECONDS)


def submit(system: Up, job: dict[str, Any]) -> str:
    """The id of a job that was accepted."""
    ran = system.dueq("job", "submit", "--file", "-", "-o", "id", stdin=json.dumps(job))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def submit_at_once(system: Up, jobs: list[dict[str, Any]]) -> list[str]:
    """The ids of jobs that were accepted: no command between them, which would take its time."""
    ids: list[str] = system.json("job", "submit", "--file", "-", stdin=json.dumps(jobs))["ids"]
    return ids


def has_ended(system: Up, job_id: str) -> dict[str, Any] | None:
    """The job, once it is final."""
    job: dict[str, Any] = system.get(f"/api/jobs/{job_id}")
    return job if job["status"] in ("succeeded", "dead", "cancelled") else None


def status_of(system: Up, job_id: str) -> str:
    """Where it is now."""
    return str(system.get(f"/api/jobs/{job_id}")["status"])


def why_waits(system: Up, job_id: str) -> str | None:
    """What a peek says of it; None if it is not there, or waits for nothing."""
    peeked = system.json("queue", "peek", "default")
    items = peeked["items"] if isinstance(peeked, dict) else peeked
    return next((one["waits_for"] for one in items if one["id"] == job_id), None)


def change(system: Up, job_id: str, patch: dict[str, Any]) -> None:
    """A merge patch of a job."""
    system.json("job", "update", job_id, "-f", "-", stdin=json.dumps(patch))


async def ended(system: Up, job_id: str) -> dict[str, Any]:
    """The job, at its end."""
    await eventually(lambda: has_ended(system, job_id), timeout=60)
    job = has_ended(system, job_id)
    assert job is not None
    return job


async def test_the_jobs_of_a_key_run_one_after_the_other_and_hold_nobody_back(system: Up) -> None:
    limits = {"key": "customer-7", "concurrency": 1}
    slow = {"task": "sleeps", "payload": 0.5}
    limited = submit_at_once(system, [slow | {"limits": limits}] * 4)
    began = time.time()
    free = submit(system, slow | {"payload": 0})
    result = await ended(system, free)
    spans = sorted([
        (await ended(system, each))["result"]
        for each in limited
    ])  # fmt: skip
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert result["result"][0] < began + 10


async def test_neither_a_retry_that_waits_nor_a_cancelled_job_holds_a_slot(system: Up) -> None:
    limits = {"key": "customer-8", "concurrency": 1}
    retry = {"backoff": "fixed", "base": 100, "jitter": "none"}
    failing = submit(system, {"task": "fails", "limits": limits, "retry": retry})
    long = submit(system, {"task": "sleeps", "payload": 100, "limits": limits})
    await eventually(lambda: status_of(system, long) == "running", timeout=20)
    assert status_of(system, failing) == "pending"
    waiting, last = (
        submit(system, {"task": "sleeps", "payload": 0, "limits": limits}) for _ in range(2)
    )
    system.json("job", "cancel", waiting)
    system.json("job", "cancel", long)
    assert (await ended(system, last))["status"] == "succeeded"
    assert status_of(system, waiting) == "cancelled"
    system.json("job", "cancel", failing)


async def test_a_job_that_waits_runs_under_the_limit_that_it_is_given(system: Up) -> None:
    one, two = ({"key": "customer-9", "concurrency": most} for most in (1, 2))
    long = submit(system, {"task": "sleeps", "payload": 100, "limits": one})
    await eventually(lambda: status_of(system, long) == "running", timeout=20)
    first, second = (
        submit(system, {"task": "sleeps", "payload": 0, "limits": one}) for _ in range(2)
    )
    await eventually(
        lambda: why_waits(system, second) == "key customer-9: 1 of 1 running", timeout=20
    )
    change(system, first, {"limits": two})
    await ended(system, first)
    change(system, second, {"limits": None})
    await ended(system, second)
    system.json("job", "cancel", long)


async def test_a_queue_starts_as_many_in_a_second_as_it_is_told(system: Up) -> None:
    shown = system.json("queue", "limit", "counted", "--rate", "4/s", "--burst", "1")
    assert shown["limits"]["rate"] == {"count": 4, "per": 1.0, "burst": 1}
    jobs = submit_at_once(system, [{"queue": "counted", "task": "sleeps", "payload": 0}] * 5)
    starts = sorted([
        (await ended(system, each))["result"][0]
        for each in jobs
    ])  # fmt: skip
    assert starts[-1] - starts[0] >= 0.9
    shown = system.json("queue", "limit", "counted", "--rate", "none")
    assert shown["limits"]["rate"] is None


async def test_a_queue_that_is_full_says_so_and_goes_on_when_it_is_given_room(system: Up) -> None:
    system.json("queue", "limit", "narrow", "--concurrency", "1")
    long = submit(system, {"queue": "narrow", "task": "sleeps", "payload": 100})
    await eventually(lambda: system.get("/api/queues/narrow")["leased"] == 1, timeout=20)
    short = submit(system, {"queue": "narrow", "task": "sleeps", "payload": 0})
    await eventually(lambda: system.get("/api/queues/narrow")["ready"] == 1, timeout=20)
    limits = system.json("queue", "show", "narrow")["limits"]
    assert limits["waits_for"] == "1 of 1 running"
    system.json("queue", "limit", "narrow", "--concurrency", "2")
    await ended(system, short)
    assert has_ended(system, long) is None
    system.json("queue", "limit", "narrow", "--concurrency", "none")
    system.json("job", "cancel", long)


async def test_a_job_that_takes_its_worker_down_is_dead_with_the_evidence(system: Up) -> None:
    poison = submit(system, {"task": "kills.its.worker", "max_lost": 2})
    other = submit(system, {"task": "sleeps", "payload": 0, "delay": 0.5})
    dead = await ended(system, poison)
    assert (dead["status"], dead["reason"], dead["attempt"]) == ("dead", "poison", 2)
    assert "was killed by SIGKILL while it ran this" in dead["last_error"]["message"]
    assert "these are my last words" in dead["last_error"]["detail"]
    await ended(system, other)
