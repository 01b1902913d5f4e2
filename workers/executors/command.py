"""Commands: a process group of its own, stopped as a group, its output kept by the tail.

Nothing of the group outlives the attempt. If the worker itself is killed, the kernel kills the
command (`PR_SET_PDEATHSIG`), so that it does not run beside its successor; what the command has
started is not reached by that. The environment is scrubbed: no broker's URL gets in.
"""

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import CommandWork, Job
from workers.executors.executor import OUTPUT_BYTES, failed, storable, timed_out
from workers.executors.fence import fence_environment

_KEPT = ("PATH", "HOME", "LANG")
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_TERM_GRACE = 2.0
_EXIT_GRACE = 1.0
_PIPE_GRACE = 1.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # before any fork: a child between fork and exec must not load anything


class CommandExecutor:
    """Runs commands as the user of this process; only for workers that were told to."""

    async def run(self, job: Job, work: CommandWork) -> Ending:
        """Exit code 0 is success. Keeps the job's timeout itself, to report what was written."""
        try:
            process = await _start(job, work)
        except (OSError, ValueError) as error:
            return failed("cannot_start", str(error))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(job.spec.timeout) as limit:
                    await process.exited.wait()
        finally:
            await process.end()
        if limit.expired():
            return timed_out(job.spec.timeout, process.report())
        return _ending_of(process)


@dataclass(slots=True)
class _Tail:
    """The last 64 KiB of a stream."""

    kept: bytearray = field(default_factory=bytearray)
    is_truncated: bool = False

    def add(self, data: bytes) -> None:
        self.kept += data
        if len(self.kept) > OUTPUT_BYTES:
            del self.kept[:-OUTPUT_BYTES]
            self.is_truncated = True

    def text(self) -> str:
        return storable(self.kept.decode(errors="replace"))


class _Process(asyncio.SubprocessProtocol):
    """A command that was started, with what it has written.

    Not asyncio's `Process`: its `wait` waits for the pipes too, and a daemon may hold them on.
    """

    def __init__(self) -> None:
        self.stdout, self.stderr = _Tail(), _Tail()
        self.exited, self._drained = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but name.
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._group = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.stdout if fd == 1 else self.stderr).add(data)

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._drained.set()  # it has exited, and nobody holds the pipes

    @property
    def returncode(self) -> int | None:
        return self._transport.get_returncode()

    async def end(self) -> None:
        """TERM, a moment to clean up, KILL for the group; then the last of the output."""
        try:
            if not self.exited.is_set():
                self._signal(signal.SIGTERM)
                await _briefly(self.exited, _TERM_GRACE)
        finally:
            self._signal(signal.SIGKILL)  # also what it has left in its group
        try:
            await _briefly(self.exited, _EXIT_GRACE)
            await _briefly(self._drained, _PIPE_GRACE)
        finally:
            self._transport.close()

    def _signal(self, which: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, which)

    def report(self) -> dict[str, object]:
        code = self.returncode
        was_killed = code is not None and code < 0
        return {
            "exit_code": None if was_killed else code,
            "signal": _signal_name(-code) if code is not None and was_killed else None,
            "stdout": self.stdout.text(),
            "stderr": self.stderr.text(),
            "truncated": self.stdout.is_truncated or self.stderr.is_truncated,
        }


async def _briefly(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _start(job: Job, work: CommandWork) -> _Process:
    is_shell = isinstance(work.command, str)
    words = ["/bin/sh", "-c", work.command] if is_shell else work.command
    _, process = await asyncio.get_running_loop().subprocess_exec(
        _Process,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(job),
        start_new_session=True,
        preexec_fn=_die_with(os.getpid()),
    )
    return process


def _environment(job: Job) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": _DEFAULT_PATH, **kept, **fence_environment(job)}


def _die_with(worker: int) -> Callable[[], None]:
    """Run in the child: ask the kernel for a KILL when the worker dies, unless it has already."""

    def ask() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != worker:
            os._exit(1)

    return ask


def _ending_of(process: _Process) -> Ending:
    code, report = process.returncode, process.report()
    assert code is not None
    if code == 0:
        return Succeeded({"exit_code": 0}, report)
    detail = process.stderr.text() or None
    if code < 0:
        message = f"killed by {_signal_name(-code)}"
        return failed("signal", message, detail=detail, report=report)
    return failed("exit_code", f"exit code {code}", detail=detail, report=report)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
