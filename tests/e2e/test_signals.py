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
def worker(system: Up, folder: Path, queue: str) -> Iterator["subprocess.Popen[bytes]"]:
    """One of its own, with a drain longer than anybody waits."""
    (folder / "impatient.py").write_text(TASKS)
    urls = {
        f"DUEQ_{name.upper()}_URL": str(system.line[name]) for name in ("amqp", "mongo", "redis")
    }
    environment = clean_environment(DUEQ_HTTP_PORT="0", DUEQ_DRAIN_SECONDS="600", **urls)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command("worker", "--queue", queue, "--import", "impatient"),
            cwd=folder, env=environment, stderr=log,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def said_often(folder: Path, times: int) -> bool:
    """Whether the worker has said so often that it stops."""
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    return [line["event"] for line in lines].count("process.stopping") == times


@pytest.mark.parametrize(("task", "signals"), [("patient", 2), ("stubborn", 3)])
async def test_a_worker_drains_at_the_first_signal_and_waits_for_nothing_at_the_last(
    system: Up, tmp_path: Path, task: str, signals: int
) -> None:
    queue = f"signals-{task}"
    job_id = system.json("job", "submit", "--task", task, "--queue", queue)["id"]
    with worker(system, tmp_path, queue) as process:
        await eventually(
            lambda: system.json("job", "show", job_id)["status"] == "running", timeout=60
        )
        for number in range(1, signals):
            process.send_signal(signal.SIGTERM)
            heard = partial(said_often, tmp_path, number)
            await eventually(heard, timeout=30)
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert system.json("job", "show", job_id)["status"] == "running"  # the reaper's
    system.json("job", "cancel", job_id)
