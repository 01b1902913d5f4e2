"""However an attempt of a command ends, soon nothing of it runs; not even if its worker was killed.

The worker of these tests is a process of its own, so that it can be killed and frozen.
"""

import asyncio
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from pipeline.domain.execution import TimedOut
from tests.builders import a_job
from tests.support import eventually, is_alive
from workers.executors.command import CommandExecutor

FAMILY = """
sleep 600 &
(trap '' TERM; sleep 601 & echo $! >>{0}.new; while :; do sleep 1; done) &
echo $! >>{0}.new
echo $$ >>{0}.new
sleep 0.2
mv {0}.new {0}
wait
"""
"""A command with a child, and with a child of a child that ignores TERM."""

WORKER = """
import asyncio, sys
if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.install()
from tests.builders import a_job
from workers.executors.command import CommandExecutor
job = a_job(body={"command": sys.argv[1]})
asyncio.run(CommandExecutor().run(job, job.spec.work))
"""


def pids_in(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()]


@asynccontextmanager
async def worker_with(
    command: str, loop: str = "asyncio"
) -> AsyncIterator[asyncio.subprocess.Process]:
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, command, loop)
    try:
        yield worker
    finally:
        with suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_killed_worker_leaves_nothing_of_the_whole_family(
    tmp_path: Path, loop: str
) -> None:
    async with worker_with(FAMILY.format(tmp_path / "pids"), loop) as worker:
        family = await eventually(lambda: pids_in(tmp_path / "pids"), timeout=20)
        assert len(family) == 3
        assert all(is_alive(pid) for pid in family)
        worker.kill()
        await eventually(lambda: not any(is_alive(pid) for pid in family), timeout=5)


async def test_a_timeout_ends_a_family_that_ignores_term_within_a_second(tmp_path: Path) -> None:
    executor = CommandExecutor()
    stubborn = "trap '' TERM; " + FAMILY.format(tmp_path / "pids")
    job = a_job(body={"command": stubborn, "timeout": 1})
    loop = asyncio.get_running_loop()
    began = loop.time()
    ending = await executor.run(job, job.spec.work)  # type: ignore[arg-type]
    took = loop.time() - began
    executor.close()
    assert isinstance(ending, TimedOut)
    assert 1 <= took < 2.5
    family = pids_in(tmp_path / "pids")
    await eventually(lambda: not any(is_alive(pid) for pid in family), timeout=1)


async def test_a_cancel_ends_a_command_that_ignores_term_within_a_second(tmp_path: Path) -> None:
    executor = CommandExecutor()
    job = a_job(body={"command": "trap '' TERM; " + FAMILY.format(tmp_path / "pids")})
    running = asyncio.ensure_future(executor.run(job, job.spec.work))  # type: ignore[arg-type]
    family = await eventually(lambda: pids_in(tmp_path / "pids"))
    running.cancel()
    with suppress(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await running
    assert running.cancelled()
    await eventually(lambda: not any(is_alive(pid) for pid in family), timeout=1)
    executor.close()


CANCELLING = """
import asyncio, sys, time
from pathlib import Path
from tests.builders import a_job
from workers.executors.command import CommandExecutor

async def main(folder):
    executor = CommandExecutor()
    for turns in range(12):
        pids = folder / str(turns)
        family = f"sleep 600 & sleep 601 & echo $$ $! >{pids}.new; mv {pids}.new {pids}; wait"
        job = a_job(body={"command": family})
        running = asyncio.ensure_future(executor.run(job, job.spec.work))
        for _ in range(turns):
            await asyncio.sleep(0)
        busy_until = time.monotonic() + 0.2
        while time.monotonic() < busy_until and not pids.exists():
            time.sleep(0.005)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=2)
        assert done, f"cancelled after {turns} turns of the loop it goes on"
        assert running.cancelled()
    (folder / "done").touch()
    await asyncio.Event().wait()

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.install()
asyncio.run(main(Path(sys.argv[1])))
"""
"""Cancels a command after each turn of the loop that its start takes, when it has children."""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_cancel_in_the_middle_of_its_start_ends_the_whole_family(
    tmp_path: Path, loop: str
) -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CANCELLING, str(tmp_path), loop
    )
    try:
        await eventually(lambda: (tmp_path / "done").exists() or worker.returncode, timeout=60)
        assert worker.returncode is None
        families = [pid for path in tmp_path.iterdir() for pid in path.read_text().split()]
        assert families
        await eventually(lambda: not any(is_alive(int(pid)) for pid in families), timeout=2)
    finally:
        with suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()


async def test_a_flood_of_output_does_not_fill_the_worker() -> None:
    executor = CommandExecutor()
    job = a_job(body={"command": "cat /dev/zero & cat /dev/zero >&2 & yes", "timeout": 1.5})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ending = await executor.run(job, job.spec.work)  # type: ignore[arg-type]
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    executor.close()
    assert isinstance(ending, TimedOut)
    assert ending.report["truncated"] is True
    assert len(str(ending.report["stdout"])) <= 64 * 1024
    assert grown_kib < 32 * 1024


async def test_who_guards_is_replaced_when_it_is_killed(tmp_path: Path) -> None:
    """The first command is told to the new one too: without that it would outlive the worker."""
    first, second = tmp_path / "first", tmp_path / "second"
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TWO, FAMILY.format(first), FAMILY.format(second), str(first)
    )
    try:
        family = await eventually(lambda: pids_in(first) + pids_in(second), timeout=20)
        assert len(family) == 6
    finally:
        worker.kill()
        await worker.wait()
    await eventually(lambda: not any(is_alive(pid) for pid in family), timeout=5)


TWO = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.builders import a_job
from tests.support import eventually
from workers.executors.command import CommandExecutor
executor = CommandExecutor()
def run(command):
    job = a_job(body={"command": command})
    return executor.run(job, job.spec.work)
async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(run(sys.argv[1]))
        await eventually(Path(sys.argv[3]).exists)
        guard = int(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()[0])
        assert b"guard.py" in Path(f"/proc/{guard}/cmdline").read_bytes()
        os.kill(guard, signal.SIGKILL)
        await eventually(lambda: ") Z" in Path(f"/proc/{guard}/stat").read_text())
        group.create_task(run(sys.argv[2]))
asyncio.run(main())
"""


async def test_a_closed_executor_does_not_wait_for_what_a_task_has_forked() -> None:
    """Such a process has all that was open when it was forked, the pipe of the guard, too."""
    executor = CommandExecutor()
    job = a_job(body={"command": "true"})
    await executor.run(job, job.spec.work)  # type: ignore[arg-type]
    with warnings.catch_warnings(action="ignore"):  # newer Pythons warn of it, and rightly
        forked = os.fork()
    if forked == 0:
        time.sleep(60)
        os._exit(0)
    try:
        closing = threading.Thread(target=executor.close, daemon=True)
        closing.start()
        await eventually(lambda: not closing.is_alive(), timeout=5)
    finally:
        os.kill(forked, signal.SIGKILL)
        os.waitpid(forked, 0)


async def test_a_closed_executor_leaves_no_guard(tmp_path: Path) -> None:
    executor = CommandExecutor()
    job = a_job(body={"command": "true"})
    await executor.run(job, job.spec.work)  # type: ignore[arg-type]
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    guards = [pid for pid in map(int, children.read_text().split()) if _is_guard(pid)]
    assert guards
    executor.close()
    assert not any(is_alive(pid) for pid in guards[-1:])


def _is_guard(pid: int) -> bool:
    return b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
