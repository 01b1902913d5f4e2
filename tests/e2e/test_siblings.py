"""`dueq worker --processes 2`, beside a system that has no other worker for its queue."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.running import Up, command, run
from tests.support import eventually, is_alive

LONG = 60


@contextmanager
def siblings(system: Up, folder: Path, *more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """They run in the folder of the system, whose servers they find there."""
    with (folder / "siblings.log").open("wb") as log:
        process = subprocess.Popen(
            command("worker", "--processes", "2", *more), cwd=system.folder,
            env={**system.environment, "DUEQ_LEASE_SECONDS": "6"}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=LONG)


def listed(system: Up, queue: str) -> Sequence[dict[str, Any]]:
    """The workers of a queue."""
    items = system.json("worker", "list")["items"]
    return [each for each in items if queue in each["queues"]]


async def test_each_child_is_a_whole_worker_and_one_that_dies_comes_back(
    system: Up, tmp_path: Path
) -> None:
    with siblings(system, tmp_path, "--queue", "twins:3", "--queue", "other") as parent:
        await eventually(lambda: len(listed(system, "twins")) == 2, timeout=LONG)
        first, second = listed(system, "twins")
        assert first["id"] != second["id"]
        assert first["pid"] != second["pid"]
        assert first["weights"] == "twins:3,other:1"
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


async def test_watchers_are_listed_by_what_they_are(system: Up) -> None:
    pids = {each["pid"] for each in system.processes("watcher")}

    def told() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = system.json("watcher", "list")["items"]
        return items

    await eventually(lambda: {each["pid"] for each in told()} == pids, timeout=LONG)
    assert all(each["host"] and each["version"] and each["last_seen_at"] for each in told())


async def test_a_job_that_ends_its_worker_as_if_said_wrong_takes_no_sibling_along(
    system: Up, tmp_path: Path
) -> None:
    """Exit code 2 means "asked for wrongly" of a worker that never was one."""
    (system.folder / "leaving.py").write_text(LEAVING)
    with siblings(system, tmp_path, "--queue", "leaving", "--import", "leaving") as parent:
        await eventually(lambda: len(listed(system, "leaving")) == 2, timeout=LONG)
        job_id = system.json("job", "submit", "--queue", "leaving", "--task", "leaves")["id"]
        await eventually(
            lambda: system.json("job", "show", job_id)["status"] == "succeeded", timeout=120
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
