"""Commands, run for real."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.domain.execution import Ending, Succeeded, TimedOut
from tests.builders import a_job
from tests.endings import failure
from tests.support import eventually, is_alive
from workers.executors.command import CommandExecutor
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.tasks import Registry

EXECUTORS = Executors(TaskExecutor(Registry(), threads=1), command=CommandExecutor())


async def run(command: str | list[str], timeout: float = 20) -> Ending:
    job = a_job(body={"command": command, "timeout": timeout}, id="the-job", attempt=3)
    return await EXECUTORS.run(job)


def pid_in(path: Path) -> int:
    return int(path.read_text().split()[0])


async def test_a_string_is_run_by_the_shell() -> None:
    ending = await run("echo Hello; echo World >&2")
    assert isinstance(ending, Succeeded)
    assert ending.result == {"exit_code": 0}
    assert ending.report == {
        "exit_code": 0, "signal": None, "stdout": "Hello\n", "stderr": "World\n", "truncated": False
    }  # fmt: skip


async def test_a_list_is_run_as_it_stands() -> None:
    ending = await run(["printf", "%s", "$HOME; echo *"])
    assert ending.report["stdout"] == "$HOME; echo *"  # type: ignore[union-attr]


async def test_another_exit_code_is_a_failure_that_says_what_it_wrote() -> None:
    ending = failure(await run("echo why >&2; exit 3"))
    assert ending.error.type == "exit_code"
    assert ending.error.message == "exit code 3"
    assert ending.error.detail == "why\n"
    assert ending.report["exit_code"] == 3


async def test_a_death_by_signal_is_told_by_its_name() -> None:
    ending = failure(await run("kill -SEGV $$"))
    assert ending.error.message == "killed by SIGSEGV"
    assert ending.report["exit_code"] is None
    assert ending.report["signal"] == "SIGSEGV"


@pytest.mark.parametrize("command", [["/no/such/program"], ["/etc/passwd"], ["a\0b"]])
async def test_what_cannot_be_started_is_a_failure(command: list[str]) -> None:
    job = a_job(body={"command": "placeholder"})
    work: Any = type(job.spec.work)
    assert EXECUTORS.command is not None
    ending = failure(await EXECUTORS.command.run(job, work(command)))
    assert ending.error.type == "cannot_start"


async def test_no_broker_url_gets_into_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUEQ_AMQP_URL", "amqp://secret")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    ending = await run(["env"])
    assert isinstance(ending, Succeeded)
    names = {line.partition("=")[0] for line in ending.report["stdout"].splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "DUEQ_JOB_ID", "DUEQ_ATTEMPT"}
    assert "DUEQ_JOB_ID=the-job\n" in ending.report["stdout"]
    assert "DUEQ_ATTEMPT=3\n" in ending.report["stdout"]


async def test_it_reads_nothing() -> None:
    ending = await run("cat; echo done")
    assert ending.report["stdout"] == "done\n"  # type: ignore[union-attr]


async def test_of_much_output_the_tail_is_kept() -> None:
    ending = await run("head -c 300000 /dev/zero | tr '\\0' x; echo; echo the end")
    assert isinstance(ending, Succeeded)
    assert len(ending.report["stdout"]) == 64 * 1024
    assert ending.report["stdout"].endswith("x\nthe end\n")
    assert ending.report["truncated"] is True


async def test_output_that_is_no_text_can_still_be_stored() -> None:
    ending = await run("printf '\\377\\355\\240\\200\\000x'")
    assert isinstance(ending, Succeeded)
    ending.report["stdout"].encode()


async def test_a_timeout_stops_the_whole_group_and_reports_what_was_written(
    tmp_path: Path,
) -> None:
    ending = await run(f"echo begun; sleep 600 & echo $! >{tmp_path}/pid; wait", timeout=0.5)
    assert isinstance(ending, TimedOut)
    assert ending.report["stdout"] == "begun\n"
    await eventually(lambda: not is_alive(pid_in(tmp_path / "pid")), timeout=1)


async def test_who_ignores_term_is_killed_within_a_few_seconds() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    ending = await run("trap '' TERM; while :; do sleep 0.1; done", timeout=0.3)
    assert isinstance(ending, TimedOut)
    assert loop.time() - began < 10
    assert ending.report["signal"] == "SIGKILL"


CLEANS_UP = """
({0} trap 'sleep 0.2; touch {1}; exit' TERM; echo ready; while :; do sleep 0.05; done) &
"""


@pytest.mark.parametrize("quietly", ["", "exec >/dev/null 2>&1;"])
@pytest.mark.parametrize("end", ["wait", "sleep 0.3"])
async def test_who_is_stopped_has_a_moment_to_clean_up_although_its_shell_is_gone(
    tmp_path: Path, end: str, quietly: str
) -> None:
    """Of a family that was stopped, and of what a command has left behind."""
    await run(CLEANS_UP.format(quietly, tmp_path / "clean") + end, timeout=1)
    assert (tmp_path / "clean").exists()


async def test_a_cancelled_attempt_leaves_no_process(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        written = f"{tmp_path}/pids"
        command = f"sleep 600 & echo $! $$ >{written}.new; mv {written}.new {written}; wait"
        attempt = group.create_task(run(command, timeout=60))
        pids = await eventually(lambda: (tmp_path / "pids").read_text().split())
        assert all(is_alive(int(pid)) for pid in pids)
        attempt.cancel()
    assert attempt.cancelled()
    await eventually(lambda: not any(is_alive(int(pid)) for pid in pids), timeout=1)


async def test_what_a_command_leaves_behind_in_its_group_ends_with_it(tmp_path: Path) -> None:
    ending = await run(f"sleep 600 & echo $! >{tmp_path}/pid")
    assert isinstance(ending, Succeeded)
    await eventually(lambda: not is_alive(pid_in(tmp_path / "pid")))


async def test_a_daemon_that_holds_the_pipes_does_not_hold_the_attempt(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    written = f"{tmp_path}/pid"
    daemon = f"setsid sh -c 'echo $$ >{written}.new; mv {written}.new {written}; exec sleep 600'"
    ending = await run(f"{daemon} & until test -e {written}; do sleep 0.05; done")
    pid = pid_in(tmp_path / "pid")
    try:
        assert isinstance(ending, Succeeded)
        assert loop.time() - began < 15
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_who_is_stopped_twice_lets_go_of_the_pipes_that_a_daemon_holds(
    tmp_path: Path,
) -> None:
    """Its time is over, and while it has its moment its lease is lost."""
    written = f"{tmp_path}/pid"
    daemon = f"setsid sh -c 'echo $$ >{written}.new; mv {written}.new {written}; exec sleep 600'"
    await run("true")  # who guards has been started by now
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    stubborn = f"trap '' TERM; {daemon} & while :; do sleep 1; done"
    attempt = asyncio.ensure_future(run(stubborn, timeout=60))
    pid = await eventually(lambda: pid_in(tmp_path / "pid"))
    try:
        for _ in range(2):
            attempt.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([attempt])
        assert attempt.cancelled()
        await eventually(lambda: set(os.listdir("/proc/self/fd")) <= before)  # noqa: PTH208
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


WORKER = """
import asyncio, sys
from tests.builders import a_job
from workers.executors.command import CommandExecutor
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.tasks import Registry
job = a_job(body={"command": f"echo $$ >{sys.argv[1]}; exec sleep 600"})
asyncio.run(Executors(TaskExecutor(Registry(), 1), command=CommandExecutor()).run(job))
"""


async def test_a_killed_worker_takes_its_command_with_it(tmp_path: Path) -> None:
    """Else it would run on beside its successor on another worker."""
    written = tmp_path / "pid"
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, str(written))
    try:
        pid = await eventually(lambda: pid_in(written), timeout=20)
        assert is_alive(pid)
    finally:
        worker.kill()
        await worker.wait()
    await eventually(lambda: not is_alive(pid))
