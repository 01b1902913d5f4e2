"""A child process that cannot outlive its parent.

The kernel sends it TERM when the thread that started it ends, also by `kill -9`; so children start
from the main thread only. Each has a session of its own: Ctrl-C in the terminal reaches the parent
alone, which then stops its children in order, and what a child leaves of its group is killed.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

GRACE_SECONDS = 10.0
OUTPUT = "output.log"

# setpriv and a shell instead of a preexec_fn: no Python runs between fork and exec, where another
# thread's lock may be held forever. The shell's question closes the gap in which the parent dies
# before the kernel knows of the wish: then PPID is no longer the parent. `exec` keeps the pid.
_TIED_TO_PARENT = ("setpriv", "--pdeathsig", "TERM", "sh", "-c")
_STILL_THERE = 'test "$PPID" = "$1" || exit 1; shift; exec "$@"'


def tied_to_parent(argv: Sequence[str]) -> tuple[str, ...]:
    """A command line that ends, by TERM, with the thread of ours that started it."""
    return (*_TIED_TO_PARENT, _STILL_THERE, "sh", str(os.getpid()), *argv)


@dataclass(frozen=True)
class Command:
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside what the parent has."""


class Child:
    """Started once, stopped once; a restart is a new Child."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Command, folder: Path, held: Sequence[int] = ()) -> "Child":
        """Runs it in `folder`, where its output goes to `output.log`. `held` are descriptors that
        it keeps open for as long as it lives."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a child's life is tied to its thread: start it from the main one")
        with (folder / OUTPUT).open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *tied_to_parent(command.argv),
                cwd=folder,
                env=os.environ | command.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=held,
            )  # fmt: skip
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 after a SIGKILL."""
        return self._process.returncode

    async def wait(self) -> int:
        code = await self._process.wait()
        self._signal_group(signal.SIGKILL)
        return code

    async def stop(self) -> None:
        """TERM, and KILL for whoever has not gone after ten seconds."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECONDS):
                    await self._process.wait()
        self._signal_group(signal.SIGKILL)
        await self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
