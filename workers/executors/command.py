"""Commands: a process group of its own, stopped as a group, its output kept by the tail.

Nothing of the group outlives the attempt, nor the worker if that is killed (`workers.guardian`): it
must not run beside its successor. The environment is scrubbed: no broker's URL gets in. Secrets
that were given to a command are taken out of what is reported of it.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from pipeline.domain.command_work import CommandWork
from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import Job
from pipeline.domain.secret import SecretRef
from workers.executors.allowed_commands import AllowedCommands, Forbidden
from workers.executors.executor import OUTPUT_BYTES, failed, storable, timed_out
from workers.executors.fence import fence_environment
from workers.guardian import Guardian
from workers.notes import Note, Notes
from workers.secrets import NoSuchSecret, Revealed, Secrets

_KEPT = ("PATH", "HOME", "LANG")
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_TERM_GRACE = 0.5
_EXIT_GRACE = 1.0
_PIPE_GRACE = 1.0


class CommandExecutor:
    """Runs commands as the user of this process; only for workers that were told to.

    `allowed` None: any command.
    """

    def __init__(
        self,
        allowed: AllowedCommands | None = None,
        secrets: Secrets | None = None,
        notes: Notes | None = None,
    ) -> None:
        self._allowed = allowed
        self._secrets = secrets or Secrets({})
        self._notes = notes or Notes()
        self._guardian = Guardian()

    def close(self) -> None:
        """Nothing runs any more."""
        self._guardian.close()

    async def run(self, job: Job, work: CommandWork) -> Ending:
        """Run it to its end. Keeps the job's timeout itself, to report what was written."""
        revealed = Revealed(self._secrets)
        with self._notes.of(job, clean=revealed.without_cut) as note:
            try:
                given = _given(job, work, revealed)
                work = work if self._allowed is None else self._allowed.check(work)
                process = await self._start(work, given, lambda: _Tail(note, revealed))
            except Forbidden as error:
                return failed("forbidden_command", str(error), retryable=False)
            except NoSuchSecret as error:
                return failed("missing_secret", str(error))
            except (OSError, ValueError) as error:
                return failed("cannot_start", revealed.without_in(str(error)))
            return await self._finish(process, job, work)

    async def _finish(self, process: "_Process", job: Job, work: CommandWork) -> Ending:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(job.spec.timeout) as limit:
                    await process.exited.wait()
        finally:
            try:
                await process.end()
            finally:
                self._guardian.ended(process.group)
        if limit.expired():
            return timed_out(job.spec.timeout, process.report())
        return _ending_of(process, work)

    async def _start(
        self, work: CommandWork, given: "_Given", output: Callable[[], "_Tail"]
    ) -> "_Process":
        process = _Process(output(), output(), given.stdin)
        try:
            await self._spawn(process, work, given)
        except asyncio.CancelledError:
            process.abandon()
            raise
        self._guardian.started(process.group)
        return process

    async def _spawn(self, process: "_Process", work: CommandWork, given: "_Given") -> None:
        await asyncio.get_running_loop().subprocess_exec(
            lambda: process,
            *work.words,
            stdin=asyncio.subprocess.DEVNULL if given.stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=given.environment,
            cwd=work.cwd,
            start_new_session=True,
            preexec_fn=self._guardian.before_exec(),
        )


@dataclass(frozen=True, slots=True)
class _Given:
    """What a command gets, secrets and all."""

    environment: dict[str, str]
    stdin: bytes | None


def _given(job: Job, work: CommandWork, revealed: Revealed) -> _Given:
    def plain(value: str | SecretRef) -> str:
        return revealed(value) if isinstance(value, SecretRef) else value

    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    asked = {name: plain(value) for name, value in work.env.items()}
    stdin = None if work.stdin is None else plain(work.stdin).encode()
    return _Given({"PATH": _DEFAULT_PATH, **kept, **asked, **fence_environment(job)}, stdin)


class _Tail:
    """The last 64 KiB of a stream; each piece goes into the attempt's note, too."""

    def __init__(self, note: Note, revealed: Revealed) -> None:
        self._note, self._revealed = note, revealed
        self._kept = bytearray()
        self.is_truncated = False

    def add(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > OUTPUT_BYTES:
            del self._kept[:-OUTPUT_BYTES]
            self.is_truncated = True
        self._note.write(data)

    def text(self) -> str:
        whole = bytes(self._kept)
        if self.is_truncated:
            whole = self._revealed.without_end(whole)
        return storable(self._revealed.without(whole).decode(errors="replace"))


class _Process(asyncio.SubprocessProtocol):
    """A command that was started, with what it has written.

    Not asyncio's `Process`: its `wait` waits for the pipes too, and a daemon may hold them on.
    """

    def __init__(self, stdout: _Tail, stderr: _Tail, stdin: bytes | None) -> None:
        self.stdout, self.stderr, self._stdin = stdout, stderr, stdin
        self.exited, self._drained = asyncio.Event(), asyncio.Event()
        self._group: int | None = None
        self._is_abandoned = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but name.
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._group = self._transport.get_pid()
        if self._is_abandoned:
            self._signal(signal.SIGKILL)
        if self._stdin is not None:
            # Written as it is read; who never reads it, or has gone, does not hold us up.
            pipe = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
            pipe.write(self._stdin)
            pipe.close()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.stdout if fd == 1 else self.stderr).add(data)

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._drained.set()  # it has exited, and nobody holds the pipes

    @property
    def group(self) -> int:
        assert self._group is not None  # it was started
        return self._group

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

    def abandon(self) -> None:
        """Killed at once, or as soon as it is known to us: it may be forked by now."""
        self._is_abandoned = True
        self._signal(signal.SIGKILL)

    def _signal(self, which: signal.Signals) -> None:
        if self._group is not None:
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


def _ending_of(process: _Process, work: CommandWork) -> Ending:
    code, report = process.returncode, process.report()
    assert code is not None
    if code in work.success:
        return Succeeded({"exit_code": code}, report)
    detail = process.stderr.text() or None
    if code < 0:
        message = f"killed by {_signal_name(-code)}"
        return failed("signal", message, detail=detail, report=report)
    return failed(
        "exit_code",
        f"exit code {code}",
        detail=detail,
        retryable=code not in work.not_retryable,
        report=report,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
