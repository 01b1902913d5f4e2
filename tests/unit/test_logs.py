"""Lines that a process says of itself."""

import subprocess
import sys
from pathlib import Path

SAYS = """
import os
from pipeline.telemetry import configure_logs, log

configure_logs("info", "json", role="worker")
for number in range(3):
    log("here").info("line.said", text="x" * 20_000)
os.write(1, b"works on")
"""


def test_a_line_that_cannot_be_written_is_no_reason_to_stop() -> None:
    """The disk is full."""
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", SAYS], stdout=subprocess.PIPE, stderr=full, check=True
        )
    assert ran.stdout == b"works on"


def test_a_line_that_nobody_reads_is_no_reason_to_stop() -> None:
    """As of `dueq worker 2>&1 | head`."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input()\n" + SAYS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdin and process.stdout and process.stderr
        process.stderr.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stdout.read() == b"works on"
    assert process.returncode == 0
