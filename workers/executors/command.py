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

from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import CommandWork, Job
from workers.executors.executor import OUTPUT_BYTES, failed, storable, timed_out
from workers.executors.fence import fence_environment

_KEPT = ("PATH", "HOME", "LANG")
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_TERM_GRACE = 2.0
_PIPE_GRACE = 1.0
_CHUNK = 64 * 1024
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
        output = _Output()
        try:
            async with asyncio.timeout(job.spec.timeout) as limit:
                await _follow(process, output)
        except TimeoutError:
            assert limit.expired()
            return timed_out(job.spec.timeout, output.report(process.returncode))
        return _ending_of(process.returncode, output)


@dataclass(slots=True)
class _Tail:
    """The last 64 KiB of a stream."""

    kept: bytearray = field(default_factory=bytearray)
    is_truncated: bool = False

    async def read(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(_CHUNK):
            self.kept += chunk
            if len(self.kept) > OUTPUT_BYTES:
                del self.kept[:-OUTPUT_BYTES]
                self.is_truncated = True

    def text(self) -> str:
        return storable(self.kept.decode(errors="replace"))


@dataclass(slots=True)
class _Output:
    stdout: _Tail = field(default_factory=_Tail)
    stderr: _Tail = field(default_factory=_Tail)

    def report(self, returncode: int | None) -> dict[str, object]:
        was_killed = returncode is not None and returncode < 0
        return {
            "exit_code": None if was_killed else returncode,
            "signal": _signal_name(-returncode) if returncode is not None and was_killed else None,
            "stdout": self.stdout.text(),
            "stderr": self.stderr.text(),
            "truncated": self.stdout.is_truncated or self.stderr.is_truncated,
        }


async def _start(job: Job, work: CommandWork) -> asyncio.subprocess.Process:
    is_shell = isinstance(work.command, str)
    words = ["/bin/sh", "-c", work.command] if is_shell else work.command
    return await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(job),
        start_new_session=True,
        preexec_fn=_die_with(os.getpid()),
    )


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


async def _follow(process: asyncio.subprocess.Process, output: _Output) -> None:
    """Read to the end of the process; when this is left, by whatever way, the group is gone."""
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.TaskGroup() as group:
        readers = [
            group.create_task(output.stdout.read(process.stdout)),
            group.create_task(output.stderr.read(process.stderr)),
        ]
        try:
            await process.wait()
        finally:
            await _end_group(process)
            # Somebody who left the group may still hold the pipes: do not wait for him.
            await asyncio.wait(readers, timeout=_PIPE_GRACE)
            for reader in readers:
                reader.cancel()


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """TERM, a moment to clean up, KILL; also what a process that has ended left in its group."""
    try:
        if process.returncode is None:
            _signal_group(process, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(_TERM_GRACE):
                    await process.wait()
    finally:
        _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: asyncio.subprocess.Process, which: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, which)


def _ending_of(returncode: int | None, output: _Output) -> Ending:
    assert returncode is not None
    report = output.report(returncode)
    if returncode == 0:
        return Succeeded({"exit_code": 0}, report)
    detail = output.stderr.text() or None
    if returncode < 0:
        message = f"killed by {_signal_name(-returncode)}"
        return failed("signal", message, detail=detail, report=report)
    return failed("exit_code", f"exit code {returncode}", detail=detail, report=report)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
