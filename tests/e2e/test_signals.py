"""A worker and the signals of a person who grows impatient."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.running import Up, clean_environment, command
from tests.support import eventually

TASKS = """
import asyncio
from workers import task


@task("patient")
async def patient(payload, context):
    await asyncio.sleep(600)


@task("stubborn")
async def stubborn(payload, context):
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass
"""


@contextmanager
def worker(
    system: Up, folder: Path, queue: str, *before: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """One of its own, with a drain longer than anybody waits; `before` starts it."""
    (folder / "impatient.py").write_text(TASKS)
    urls = {
        f"DUEQ_{name.upper()}_URL": str(system.line[name]) for name in ("amqp", "mongo", "redis")
    }
    environment = clean_environment(DUEQ_HTTP_PORT="0", DUEQ_DRAIN_SECONDS="600", **urls)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*before, *command("worker", "--queue", queue, "--import", "impatient")],
            cwd=folder, env=environment, stderr=log,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def said_often(folder: Path, times: int) -> bool:
    """Whether the worker has said so often that it stops."""
    return len(why_stopping(folder)) == times


def why_stopping(folder: Path) -> list[str]:
    """For each time that it has said so."""
    found = (folder / "log").read_text().splitlines()
    lines = [json.loads(line) for line in found if line.startswith("{")]
    return [line["why"] for line in lines if line["event"] == "process.stopping"]


@pytest.mark.parametrize(("task", "signals"), [("patient", 2), ("stubborn", 3)])
async def test_a_worker_drains_at_the_first_signal_and_waits_for_nothing_at_the_last(
    system: Up, tmp_path: Path, task: str, signals: int
) -> None:
    queue = f"signals-{task}"
    job_id = system.json("job", "submit", "--task", task, "--queue", queue)["id"]
    with worker(system, tmp_path, queue) as process:
        await eventually(
            lambda: system.get(f"/api/jobs/{job_id}")["status"] == "running", timeout=60
        )
        for number in range(1, signals):
            process.send_signal(signal.SIGTERM)
            heard = partial(said_often, tmp_path, number)
            await eventually(heard, timeout=30)
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert system.get(f"/api/jobs/{job_id}")["status"] == "running"  # the reaper's
    system.json("job", "cancel", job_id)


async def test_a_worker_drains_when_its_terminal_has_gone(system: Up, tmp_path: Path) -> None:
    """The shell says so and then the kernel: twice is not a person who grows impatient."""
    job_id = system.json("job", "submit", "--task", "patient", "--queue", "hangup")["id"]
    with worker(system, tmp_path, "hangup") as process:
        await eventually(
            lambda: system.get(f"/api/jobs/{job_id}")["status"] == "running", timeout=60
        )
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            await eventually(partial(said_often, tmp_path, 1), timeout=30)
        assert system.get(f"/api/jobs/{job_id}")["status"] == "running"
        system.json("job", "cancel", job_id)
        assert process.wait(timeout=30) == 0
    assert why_stopping(tmp_path) == ["SIGHUP"]


async def test_a_worker_under_nohup_outlives_its_terminal(system: Up, tmp_path: Path) -> None:
    with worker(system, tmp_path, "nohup", "nohup") as process:
        await eventually(lambda: "process.ready" in (tmp_path / "log").read_text(), timeout=60)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert why_stopping(tmp_path) == ["SIGTERM"]
