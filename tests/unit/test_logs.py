"""Lines that a process says of itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAYS = """
import os
from pipeline.telemetry import configure_logs, log

configure_logs("info", "json", role="worker")
for length in (20_000, 1, 1):
    log("here").info("line.said", text="x" * length)
os.write(1, b"works on")
"""


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """What could not be written stays in a buffer, if there is one."""
    return os.environ | {"PYTHONUNBUFFERED": request.param}


def test_a_line_that_cannot_be_written_is_no_reason_to_stop(environment: dict[str, str]) -> None:
    """The disk is full."""
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", SAYS],
            env=environment, stdout=subprocess.PIPE, stderr=full, check=True,
        )  # fmt: skip
    assert ran.stdout == b"works on"


def test_a_line_that_nobody_reads_is_no_reason_to_stop(environment: dict[str, str]) -> None:
    """As of `dueq worker 2>&1 | head`."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input()\n" + SAYS], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdin and process.stdout and process.stderr
        process.stderr.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stdout.read() == b"works on"
    assert process.returncode == 0
