"""`dueq demo`: what a person sees in the first minute, in a pipe and on a terminal."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.running import STOP_SECONDS, clean_environment, command, pids_in, run
from tests.support import eventually

PATHS = {
    "task": ["succeeded"],
    "http": ["succeeded"],
    "amqp": ["succeeded"],
    "command": ["succeeded"],
    "delayed": ["succeeded"],
    "fails twice": ["failed", "failed", "succeeded"],
    "dies": ["failed", "failed"],
}
"""How the attempts of each job end."""
STEP = re.compile(r" +(\d+)  (.+)")
CTRL_C = b"\x03"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demo runs; whatever it keeps for a while is in `temporary`."""
    (tmp_path / "temporary").mkdir()
    return tmp_path


def nothing_is_left_in(folder: Path) -> bool:
    """No file and no process of the demo."""
    return not list((folder / "temporary").iterdir()) and not pids_in(folder)


def steps_of(name: str, paths: str) -> dict[str, int]:
    """What is printed under a job: step → milliseconds since it was accepted."""
    _, _, after = paths.partition(f"\n  {name}: ")
    block, _, _ = after.partition("\n\n")
    found = [STEP.fullmatch(line) for line in block.splitlines()[1:]]
    return {step[2].partition(":")[0]: int(step[1]) for step in found if step}


async def test_in_a_pipe_it_shows_jobs_arriving_then_the_path_of_each_and_leaves_nothing(
    folder: Path,
) -> None:
    nowhere = {"DUEQ_MONGO_URL": "mongodb://127.0.0.1:9", "DUEQ_LEASE_SECONDS": "not read"}
    ran = run("demo", folder=folder, TMPDIR=str(folder / "temporary"), **nowhere)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    arriving, _, paths = ran.stdout.partition("The path of each")
    for name, outcomes in PATHS.items():
        last = "dead" if name == "dies" else "succeeded"
        assert re.search(
            rf"^ +\d+\.\d\d s  {name} +{last}  attempt {len(outcomes)}$", arriving, re.M
        )
        assert f"\n  {name}: {last}, as it should be" in paths
        steps = steps_of(name, paths)
        expected = ["accepted"]
        for number, outcome in enumerate(outcomes, 1):
            expected += [f"attempt {number} {step}" for step in ("queued", "started", outcome)]
        assert list(steps) == expected
        assert list(steps.values()) == sorted(steps.values())
    assert steps_of("delayed", paths)["attempt 1 started"] >= 2000
    assert "this can never work" in paths
    assert "\x1b" not in ran.stdout
    await eventually(lambda: nothing_is_left_in(folder), timeout=5)


async def test_on_a_terminal_two_ctrl_c_in_the_middle_of_the_table_leave_nothing(
    folder: Path,
) -> None:
    """The second comes while everything is being stopped, which it must not interrupt: servers
    would stay behind."""
    with terminal(command("demo"), folder) as (process, screen):
        seen = read_until(screen, b"dies ")
        os.write(screen, CTRL_C)
        seen += read_until(screen, b"Stopping everything")
        os.write(screen, CTRL_C)
        seen += read_until(screen, b"stopped before the end")
        assert process.wait(timeout=STOP_SECONDS) == 1
    table = seen.decode()
    for heading in ("JOB", "STATUS", "ATTEMPT", "SECONDS"):
        assert heading in table
    assert "Traceback" not in table
    await eventually(lambda: nothing_is_left_in(folder), timeout=5)


@contextmanager
def terminal(argv: list[str], folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A command with a terminal of its own, where Ctrl-C is a signal; yields our end of it."""
    ours, its = os.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *argv], cwd=folder, stdin=its, stdout=its, stderr=its,
        env=clean_environment(TMPDIR=str(folder / "temporary"), TERM="xterm"),
    )  # fmt: skip
    os.close(its)
    try:
        yield process, ours
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=STOP_SECONDS)
        os.close(ours)


def read_until(screen: int, words: bytes) -> bytes:
    """What appears up to these words; fails when the command ends without them."""
    seen = b""
    while words not in seen:
        try:
            seen += os.read(screen, 65_536)
        except OSError:  # nobody holds the other end
            raise AssertionError(f"{words!r} never came:\n{seen.decode()}") from None
    return seen
