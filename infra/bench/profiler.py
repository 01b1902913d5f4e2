"""py-spy on the processes of one role while something is measured."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.bench.target import Target
from infra.cli.output import tell
from infra.exits import CommandFailed, Exit


@contextmanager
def profiled(target: Target, role: str | None, what: str) -> Iterator[None]:
    """Write a flame graph for each process of `role` into the current folder; None: do nothing."""
    watchers = [_record(pid, Path(f"bench-{what}-{name}-{pid}.svg"))
                for name, pid in target.pids if name == role]  # fmt: skip
    if role is not None and not watchers:
        raise CommandFailed(Exit.USAGE, f"there is no process of role {role!r} to profile")
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.send_signal(signal.SIGINT)
            watcher.wait()


def _record(pid: int, file: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("py-spy")
    if program is None:
        raise CommandFailed(Exit.FAILED, "--profile needs py-spy: pip install py-spy")
    tell(f"Profiling pid {pid} into {file}")
    return subprocess.Popen(
        (program, "record", "--pid", str(pid), "--output", str(file), "--rate", "200"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
