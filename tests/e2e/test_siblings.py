"""`dueq worker --processes 2`, beside a system that has no other worker for its queue."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Up, command, run
from tests.support import eventually, is_alive

LONG = 60
Process = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def watcher(system: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One more, which has seen enough within seconds to reap what a worker left."""
    with beside(system, tmp_path_factory.mktemp("watcher"), "watcher") as process:
        yield process


def siblings(system: Up, folder: Path, *more: str) -> AbstractContextManager[Process]:
    """Two workers and their parent."""
    return beside(system, folder, "worker", "--processes", "2", *more)


@contextmanager
def beside(system: Up, folder: Path, *arguments: str) -> Iterator[Process]:
    """It runs in the folder of the system, whose servers it finds there, with a short lease."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command(*arguments), cwd=system.folder,
            env={**system.environment, "DUEQ_LEASE_SECONDS": "3"}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=LONG)


def listed(system: Up, queue: str) -> Sequence[dict[str, Any]]:
    """The workers of a queue."""
    items = system.get("/api/workers")["items"]
    return [each for each in items if queue in each["queues"]]


async def test_each_child_is_a_whole_worker_and_one_that_dies_comes_back(
    system: Up, tmp_path: Path
) -> None:
    with siblings(system, tmp_path, "--queue", "twins:3", "--queue", "other") as parent:
        await eventually(lambda: len(listed(system, "twins")) == 2, timeout=LONG)
        first, second = listed(system, "twins")
        told = {each["id"] for each in system.json("worker", "list")["items"]}
        assert told >= {first["id"], second["id"]}
        assert first["id"] != second["id"]
        assert first["pid"] != second["pid"]
        assert first["weights"] == "twins:3,other:1"
        assert system.dueq("worker", "list").stdout.count(" twins:3,other:1 ") == 2
        assert first["version"]
        assert parent.pid not in (first["pid"], second["pid"])

        os.kill(first["pid"], signal.SIGKILL)
        await eventually(
            lambda: (
                {each["pid"] for each in listed(system, "twins")}.isdisjoint({first["pid"]})
                and len(listed(system, "twins")) == 2
            ),
            timeout=LONG,
        )
        assert second["id"] in {each["id"] for each in listed(system, "twins")}
        assert system.json(
            "job", "submit", "--queue", "twins", "--payload", "x", f"--wait={LONG}"
        )["status"] == "succeeded"  # fmt: skip

        children = [each["pid"] for each in listed(system, "twins")]
        parent.send_signal(signal.SIGHUP)
        assert parent.wait(timeout=LONG) == 0
        assert not [pid for pid in children if is_alive(pid)]
        assert listed(system, "twins") == []  # they have said goodbye


@pytest.mark.usefixtures("watcher")
async def test_how_a_child_died_is_told_with_the_job_that_it_took_along(
    system: Up, tmp_path: Path
) -> None:
    (system.folder / "deadly.py").write_text(DEADLY)
    with siblings(system, tmp_path, "--queue", "deadly", "--import", "deadly") as parent:
        await eventually(lambda: len(listed(system, "deadly")) == 2, timeout=LONG)
        for task, told in (("kills", "was killed by SIGKILL"), ("quits", "exit code 0 while")):
            asked = ("--queue", "deadly", "--task", task, "--wait=120")
            job = system.json("job", "submit", *asked)
            assert job["status"] == "succeeded"
            assert told in system.dueq("job", "logs", job["id"]).stdout
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(timeout=LONG) == 0


async def test_children_end_when_their_parent_is_killed(system: Up, tmp_path: Path) -> None:
    with siblings(system, tmp_path, "--queue", "orphans") as parent:
        await eventually(lambda: len(listed(system, "orphans")) == 2, timeout=LONG)
        children = [each["pid"] for each in listed(system, "orphans")]
        parent.kill()
        await eventually(lambda: not [pid for pid in children if is_alive(pid)], timeout=LONG)


async def test_watchers_are_listed_by_what_they_are(system: Up, watcher: Process) -> None:
    pids = {watcher.pid, *(each["pid"] for each in system.processes("watcher"))}

    def listed_pids() -> set[int]:
        return {each["pid"] for each in system.get("/api/watchers")["items"]}

    await eventually(lambda: listed_pids() == pids, timeout=LONG)
    told = system.json("watcher", "list")["items"]
    assert {each["pid"] for each in told} == pids
    assert all(each["host"] and each["version"] and each["last_seen_at"] for each in told)


@pytest.mark.usefixtures("watcher")
async def test_a_job_that_ends_its_worker_as_if_said_wrong_takes_no_sibling_along(
    system: Up, tmp_path: Path
) -> None:
    """Exit code 2 means "asked for wrongly" of a worker that never was one."""
    (system.folder / "leaving.py").write_text(LEAVING)
    with siblings(system, tmp_path, "--queue", "leaving", "--import", "leaving") as parent:
        await eventually(lambda: len(listed(system, "leaving")) == 2, timeout=LONG)
        job_id = system.json("job", "submit", "--queue", "leaving", "--task", "leaves")["id"]
        await eventually(
            lambda: system.get(f"/api/jobs/{job_id}")["status"] == "succeeded", timeout=120
        )
        assert parent.poll() is None
        await eventually(lambda: len(listed(system, "leaving")) == 2, timeout=LONG)


def test_a_worker_that_was_asked_for_wrongly_is_not_started_for_ever(tmp_path: Path) -> None:
    ran = run("worker", "--processes", "2", "--import", "no_such_module", folder=tmp_path)
    assert ran.returncode == 2
    assert "no_such_module" in ran.stderr
    ran = run("worker", "--queue", "a:0", folder=tmp_path)
    assert ran.returncode == 2
    assert "weight" in ran.stderr


LEAVING = """
import os

from workers import task


@task("leaves")
def leaves(payload, context):
    if context.attempt == 1:
        os._exit(2)
    return "stays"
"""
DEADLY = """
import os
import signal

from workers import task


@task("kills")
def kills(payload, context):
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@task("quits")
def quits(payload, context):
    if context.attempt == 1:
        os._exit(0)
    return "there"
"""
