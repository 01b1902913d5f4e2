"""Commands: a process group of its own, stopped as a group, its output kept by the tail.

Nothing of the group outlives the attempt, nor the worker if that is killed (`workers.guardian`): it
must not run beside its successor. The environment is scrubbed: no broker's URL gets in. Secrets
that were given to a command are taken out of what is reported of it.
"""

import asyncio
import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.domain.command_work import CommandWork
from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import Job
from pipeline.domain.secret import SecretRef
from pipeline.domain.text import storable
from workers.executors.allowed_commands import DEFAULT_PATH, AllowedCommands, Forbidden
from workers.executors.command_process import CommandProcess, Given
from workers.executors.executor import OUTPUT_BYTES, failed, signal_name, timed_out
from workers.executors.fence import fence_environment
from workers.guardian import Guardian
from workers.notes import Note, Notes
from workers.secrets import NoSuchSecret, Revealed, Secrets

_KEPT = ("PATH", "HOME", "LANG")


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
            stdout, stderr = _Tail(note, revealed), _Tail(note, revealed)
            process = CommandProcess(self._guardian)
            try:
                given = _given(job, work, revealed)
                work = work if self._allowed is None else self._allowed.check(work)
                await process.start(work.words, given, stdout.add, stderr.add)
            except Forbidden as error:
                return failed("forbidden_command", str(error), retryable=False)
            except NoSuchSecret as error:
                return failed("missing_secret", str(error))
            except OSError as error:
                return failed("cannot_start", _why(error, work))
            except ValueError as error:
                return failed("cannot_start", revealed.without_in(str(error)))
            is_late = await _finish(process, job.spec.timeout)
            ran = _Ran(process.returncode, stdout, stderr)
            return timed_out(job.spec.timeout, ran.report()) if is_late else _ending_of(ran, work)


async def _finish(process: CommandProcess, timeout: float) -> bool:
    """Return when nothing of it runs any more; whether it had to be stopped for its time."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout) as limit:
                await process.exited.wait()
    finally:
        await process.end()
    return limit.expired()


def _why(error: OSError, work: CommandWork) -> str:
    """With the name of what it is about, which uvloop does not tell."""
    why, program = os.strerror(error.errno or 0), work.words[0]
    if work.cwd is not None and not os.access(f"{work.cwd}/", os.X_OK):
        return f"the folder {work.cwd}: {why}"
    if error.errno == errno.ENOENT and program.startswith("/") and Path(program).exists():
        return f"{program}: {why}: the interpreter that its first line names"
    return f"{program}: {why}"


def _given(job: Job, work: CommandWork, revealed: Revealed) -> Given:
    def plain(value: str | SecretRef) -> str:
        return revealed(value) if isinstance(value, SecretRef) else value

    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    asked = {name: plain(value) for name, value in work.env.items()}
    stdin = None if work.stdin is None else plain(work.stdin).encode()
    environment = {"PATH": DEFAULT_PATH, **kept, **asked, **fence_environment(job)}
    return Given(environment, work.cwd, stdin)


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


@dataclass(frozen=True, slots=True)
class _Ran:
    """A command that has ended; `code` None: nobody knows how, it would not go."""

    code: int | None
    stdout: _Tail
    stderr: _Tail

    def report(self) -> dict[str, object]:
        was_killed = self.code is not None and self.code < 0
        return {
            "exit_code": None if was_killed else self.code,
            "signal": signal_name(-self.code) if self.code is not None and was_killed else None,
            "stdout": self.stdout.text(),
            "stderr": self.stderr.text(),
            "truncated": self.stdout.is_truncated or self.stderr.is_truncated,
        }


def _ending_of(ran: _Ran, work: CommandWork) -> Ending:
    code, report = ran.code, ran.report()
    assert code is not None
    if code in work.success:
        return Succeeded({"exit_code": code}, report)
    detail = ran.stderr.text() or None
    if code < 0:
        message = f"killed by {signal_name(-code)}"
        return failed("signal", message, detail=detail, report=report)
    return failed(
        "exit_code",
        f"exit code {code}",
        detail=detail,
        retryable=code not in work.not_retryable,
        report=report,
    )
