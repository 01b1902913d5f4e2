"""A process that outlives its worker by a moment, to kill what the worker has left.

Reads `+<group>` and `-<group>` from its standard input, until a `.` or its end. However the worker
ends, by SIGKILL too, the kernel closes that; then every group that is still guarded is killed. A
program of its own that imports nothing of ours: it is started for every worker that runs
commands, and has to be small.
"""

import os
import signal
import sys
from contextlib import suppress

_MANY = 1000


def main() -> None:
    """Until the end of the input, or until it says so."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever stops a service signals all of it; we go when the worker has gone.
        signal.signal(ignored, signal.SIG_IGN)
    guarded: dict[int, str | None] = {}
    for line in iter(sys.stdin.buffer.readline, b""):
        if line.startswith(b"."):
            break
        group = int(line[1:])
        if line.startswith(b"+"):
            guarded[group] = _born(group)
        else:
            guarded.pop(group, None)
        if len(guarded) > _MANY:
            guarded = {group: born for group, born in guarded.items() if _exists(group)}
    for group, born in guarded.items():
        # A child that could not be executed has announced itself and is never taken back: its
        # number may be another's by now. While anybody is in a group its number is not given anew.
        if _born(group) in (None, born):
            _signal(group, signal.SIGKILL)


def _born(process: int) -> str | None:
    """When it was started, in the kernel's ticks; None if there is none."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _exists(group: int) -> bool:
    return _signal(group, 0)


def _signal(group: int, number: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    main()
