"""A command that runs: a process group of its own, what it reads and writes, its end."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import cast

from workers.executors.command_pipes import Input, Output
from workers.guardian import Guardian

_TERM_GRACE = 0.5
_EXIT_GRACE = 1.0
_PIPE_GRACE = 1.0
_GLANCE = 0.02
_NO_SIGNAL = 0

Take = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Given:
    """What a command gets, secrets and all."""

    environment: Mapping[str, str]
    cwd: str | None
    stdin: bytes | None


class CommandProcess(asyncio.SubprocessProtocol):
    """Started once, ended once. Its group is guarded from its first moment to its last."""

    def __init__(self, guardian: Guardian) -> None:
        self.exited = asyncio.Event()
        self._guardian = guardian
        self._group: int | None = None
        self._is_abandoned = False
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: Input | None = None
        self._outputs: list[Output] = []

    async def start(self, words: Sequence[str], given: Given, stdout: Take, stderr: Take) -> None:
        """Raises `OSError` or `ValueError`. Cancelled, or whatever it raises, it leaves nothing
        that runs."""
        try:
            with ExitStack() as theirs:
                pipes = (self._output(take, theirs) for take in (stdout, stderr))
                await self._spawn(words, given, self._stdin(given, theirs), *pipes)
        except BaseException:
            self._abandon()
            raise

    async def _spawn(
        self, words: Sequence[str], given: Given, stdin: int, stdout: int, stderr: int
    ) -> None:
        await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            *words,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=dict(given.environment),
            cwd=given.cwd,
            start_new_session=True,
            preexec_fn=self._guardian.before_exec(),
        )

    def _stdin(self, given: Given, theirs: ExitStack) -> int:
        if given.stdin is None:
            return asyncio.subprocess.DEVNULL
        self._input = Input(given.stdin, theirs)
        return self._input.for_command

    def _output(self, take: Take, theirs: ExitStack) -> int:
        output = Output(take, theirs)
        self._outputs.append(output)
        return output.for_command

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but name.
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._group = self._transport.get_pid()
        self._guardian.started(self._group)
        if self._is_abandoned:
            self._kill()

    def process_exited(self) -> None:
        self.exited.set()

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative is a signal."""
        return None if self._transport is None else self._transport.get_returncode()

    async def end(self) -> None:
        """TERM, a moment to clean up, KILL for the group; then the last of the output.

        The moment is for all of it: a shell is gone at once, the program that it runs is not.
        """
        try:
            await self._stop()
            await _briefly(self.exited, _EXIT_GRACE)
            # Not for long: who has left the group may hold them on.
            with suppress(TimeoutError):
                async with asyncio.timeout(_PIPE_GRACE):
                    for output in self._outputs:
                        await output.closed.wait()
        finally:  # also when it is cancelled while it has its moment
            self._close()

    async def _stop(self) -> None:
        try:
            if self._signal(signal.SIGTERM):
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TERM_GRACE):
                        await self._is_gone()
        finally:
            self._kill()

    def _abandon(self) -> None:
        """Killed at once, or as soon as its number is known to us: it may be forked by now."""
        self._is_abandoned = True
        self._kill()
        self._close()

    def _kill(self) -> None:
        if self._group is not None:
            self._signal(signal.SIGKILL)
            self._guardian.ended(self._group)

    async def _is_gone(self) -> None:
        """Nobody is left in the group; nothing tells of that who does not ask."""
        while self._signal(_NO_SIGNAL):
            await _briefly(asyncio.Event(), _GLANCE)

    def _signal(self, which: int) -> bool:
        """Whether there was anybody to be told."""
        if self._group is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, which)
                return True
        return False

    def _close(self) -> None:
        if self._input is not None:
            self._input.close()
        for output in self._outputs:
            output.close()
        if self._transport is not None:
            self._transport.close()


async def _briefly(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
