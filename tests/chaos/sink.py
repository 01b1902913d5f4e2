"""The witness: what ran when, written down by the jobs themselves, outside of DueQ.

One line an event, one `write` a line, on a descriptor opened with O_APPEND: lines of several
processes never mix, their order is the order of the writes, and a `kill -9` right after the write
takes nothing back. The file knows nothing of attempts that DueQ only says it made.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

SINK = "DUEQ_TEST_SINK"
"""The variable that names the file."""


class Seen(StrEnum):
    """What a process has to say."""

    STARTED = "started"
    FAILED = "failed"
    ENDED = "ended"
    CRASHED = "crashed"
    """It is about to kill itself; `job_id` is the name of the crash point."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One line. `at` is this machine's wall clock, the same that the client reads."""

    seen: Seen
    job_id: str
    attempt: int
    at: float
    pid: int


def witness(seen: Seen, job_id: str, attempt: int = 0) -> None:
    """Write it down, now."""
    line = f"{seen} {job_id} {attempt} {time.time():.6f} {os.getpid()}\n"
    os.write(_descriptor(os.environ[SINK]), line.encode())


@cache
def _descriptor(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def read(path: Path) -> Sequence[Sighting]:
    """All that was witnessed so far, in the order in which it was written."""
    if not path.exists():
        return []
    whole_lines = path.read_text().splitlines(keepends=True)
    return [_parse(line) for line in whole_lines if line.endswith("\n")]


def _parse(line: str) -> Sighting:
    seen, job_id, attempt, at, pid = line.split()
    return Sighting(Seen(seen), job_id, int(attempt), float(at), int(pid))
