"""What a command is given, what its exit code means, and which commands a worker runs at all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.domain.execution import Ending, Succeeded
from tests.builders import a_job
from tests.endings import failure
from workers.executors.allowed_commands import AllowedCommands
from workers.executors.command import CommandExecutor
from workers.secrets import Secrets

SECRETS = Secrets({"DUEQ_SECRET_PASSWORD": "s3cr3t-w0rd"})


async def run(command: Any, *, allowed: AllowedCommands | None = None) -> Ending:
    job = a_job(body={"command": command, "timeout": 20})
    executor = CommandExecutor(allowed, SECRETS)
    try:
        return await executor.run(job, job.spec.work)  # type: ignore[arg-type]
    finally:
        executor.close()


def written(ending: Ending) -> str:
    assert isinstance(ending, Succeeded), ending
    return str(ending.report["stdout"])


async def test_an_object_has_its_own_variables_folder_and_input(tmp_path: Path) -> None:
    script = 'echo "$GREETING $HOME_OF"; pwd; cat'
    whole = {"shell": script, "env": {"GREETING": "hi"}, "cwd": str(tmp_path), "stdin": "in\nput"}
    assert written(await run(whole)) == f"hi \n{tmp_path}\nin\nput"


async def test_words_are_not_read_by_a_shell() -> None:
    assert written(await run({"argv": ["printf", "%s", "$HOME; *"]})) == "$HOME; *"


async def test_much_input_that_nobody_reads_holds_nothing_up() -> None:
    assert written(await run({"shell": "echo done", "stdin": "x" * 200_000})) == "done\n"


RUNNING = """
import asyncio, json, sys
from tests.builders import a_job
from workers.executors.command import CommandExecutor
if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.install()
job = a_job(body={"command": json.loads(sys.argv[2])})
print(asyncio.run(CommandExecutor().run(job, job.spec.work)).report["stdout"], end="")
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("cat /dev/stdin >/dev/stdout; { echo err >/dev/stderr; } 2>&1", "given\nerr\n"),
        ("ls /proc/self/fd", "0\n1\n2\n3\n"),
    ],
    ids=["files", "no others"],
)
def test_it_has_its_three_streams_as_files_and_no_others(
    loop: str, script: str, said: str, tmp_path: Path
) -> None:
    command = json.dumps({"shell": script, "stdin": "given\n"})
    with (tmp_path / "a file of the worker").open("w") as file:
        ran = subprocess.run(
            [sys.executable, "-c", RUNNING, loop, command], pass_fds=[file.fileno()],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert ran.stdout == said


STARTING = """
import asyncio, json, sys, uvloop
from tests.builders import a_job
from workers.executors.command import CommandExecutor
async def main():
    for command in json.loads(sys.argv[1]):
        job = a_job(body={"command": command})
        print((await CommandExecutor().run(job, job.spec.work)).error.message)
if sys.argv[2] == "uvloop":
    uvloop.install()
asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_cannot_be_started_is_named(loop: str, tmp_path: Path) -> None:
    """uvloop, on which workers run, does not say what it was that it did not find."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o700)
    missing = "No such file or directory"
    said = {
        f"the folder /no/such/folder: {missing}": {"shell": "true", "cwd": "/no/such/folder"},
        "the folder /etc/passwd: Not a directory": {"shell": "true", "cwd": "/etc/passwd"},
        f"no-such-program: {missing}": ["no-such-program", "x"],
        "/etc/passwd: Permission denied": {"argv": ["/etc/passwd"], "cwd": "/tmp"},
        f"{script}: {missing}: the interpreter that its first line names": [str(script)],
    }  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-c", STARTING, json.dumps(list(said.values())), loop],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.splitlines() == list(said)


async def test_exit_codes_may_mean_success_or_that_trying_again_is_in_vain() -> None:
    codes = {"success": [0, 3], "not_retryable": [64]}
    assert (await run({"shell": "exit 3", **codes})).result == {"exit_code": 3}  # type: ignore[union-attr]
    assert not failure(await run({"shell": "exit 64", **codes})).retryable
    assert failure(await run({"shell": "exit 4", **codes})).retryable


async def test_a_secret_reaches_the_command_and_nothing_that_is_reported() -> None:
    secret = {"secret": "PASSWORD"}
    ending = await run({
        "shell": 'test "$P" = s3cr3t-w0rd && echo "$P"; cat; echo "$P" >&2; exit 1',
        "env": {"P": secret}, "stdin": secret,
    })  # fmt: skip
    assert failure(ending).report["stdout"] == "[redacted]\n[redacted]"
    assert "s3cr3t" not in repr(ending)


async def test_a_secret_at_the_cut_of_the_output_does_not_leave_its_end() -> None:
    script = "printf %s \"$P\"; head -c 65531 /dev/zero | tr '\\0' x"
    ending = await run({"shell": script, "env": {"P": {"secret": "PASSWORD"}}})
    assert written(ending).strip("x") == ""


async def test_a_secret_that_this_worker_lacks_is_missing_and_tried_again() -> None:
    ending = failure(await run({"shell": "true", "env": {"P": {"secret": "OTHER"}}}))
    assert ending.error.type == "missing_secret"
    assert ending.retryable


# -- the list of commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    for path in (jobs / "fine", tmp_path / "evil"):
        path.write_text("#!/bin/sh\necho ran $0\n")
        path.chmod(0o755)
    return jobs


@pytest.mark.parametrize("pattern", ["{}/fine", "{}/"])
async def test_what_is_listed_runs(folder: Path, pattern: str) -> None:
    allowed = AllowedCommands([pattern.format(folder)])
    assert written(await run([f"{folder}/fine"], allowed=allowed)) == f"ran {folder}/fine\n"


async def test_a_name_is_that_program_of_the_workers_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    allowed = AllowedCommands(["fine"])
    assert written(await run(["fine"], allowed=allowed)) == f"ran {folder}/fine\n"
    failure(await run([f"{folder.parent}/fine"], allowed=allowed))


async def test_a_program_that_is_not_there_is_said_to_be_missing_until_it_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be installed while the worker runs."""
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    allowed = AllowedCommands(["later"])
    ending = failure(await run(["later"], allowed=allowed))
    assert "later is not on the PATH" in ending.error.message
    (folder / "fine").rename(folder / "later")
    assert written(await run(["later"], allowed=allowed)) == f"ran {folder}/later\n"


async def test_a_relative_folder_on_the_path_leads_nowhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it means would depend on the folder that the job chooses."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}")
    allowed = AllowedCommands(["fine"])
    assert failure(await run(["fine"], allowed=allowed)).error.type == "forbidden_command"


@pytest.mark.parametrize(
    "command",
    [
        ["{}/../evil"],
        ["{}/link/evil"],
        ["{}"],
        ["{}/fine/../../evil"],
        ["../evil"],
        ["evil"],
        ["./fine"],
        "{}/fine",
        "{}/../evil",
        {"shell": "{}/fine"},
        {"argv": ["evil"], "cwd": "{}/.."},
        {"argv": ["/bin/sh", "-c", "{}/fine"]},
        {"argv": ["{}/fine"], "env": {"LD_PRELOAD": "/tmp/x.so"}},
        {"argv": ["{}/fine"], "env": {"PATH": "/tmp"}},
        {"argv": ["fine"], "env": {"PATH": "{}"}},
        {"argv": ["{}/fine"], "env": {"BASH_ENV": "{}/../evil"}},
    ],
    ids=str,
)
async def test_what_is_not_listed_does_not_run_and_is_not_tried_again(
    folder: Path, command: Any
) -> None:
    (folder / "link").symlink_to(folder.parent)
    allowed = AllowedCommands([f"{folder}/"])
    ending = failure(await run(_filled(command, folder), allowed=allowed))
    assert ending.error.type == "forbidden_command"
    assert not ending.retryable
    assert "stdout" not in ending.report


async def test_with_a_list_a_job_may_set_variables_of_its_own() -> None:
    command = {"argv": ["env"], "env": {"JOB_DAY": "monday"}}
    assert "JOB_DAY=monday\n" in written(await run(command, allowed=AllowedCommands(["env"])))


def test_a_relative_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="bin/x"):
        AllowedCommands(["bin/x"])


def _filled(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{}", str(folder))
    if isinstance(value, list):
        return [_filled(each, folder) for each in value]
    return {name: _filled(each, folder) for name, each in value.items()}
