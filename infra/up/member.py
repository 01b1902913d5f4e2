"""A process of `dueq up`: started, watched, started again when it dies, stopped with patience.

The kernel stops it when `dueq up` is killed (`infra.local.child`).
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from infra.local.child import OUTPUT, Child, Command
from infra.roles.death import TAIL_BYTES, Backoff, cause, last_lines
from infra.up.plan import Member

_POLL_SECONDS = 0.03
_START_SECONDS = 60.0
Tell = Callable[[str], None]


class MemberFailed(Exception):
    """A process did not come up. The text has the end of its log."""


class Supervised:
    """One member of the system, alive or between two lives."""

    def __init__(self, member: Member, data: Path, tell: Tell) -> None:
        self.member = member
        self._folder = data / member.name
        self.log = self._folder / OUTPUT
        self._tell = tell
        self._child: Child | None = None
        self._begins_at = 0
        """Of its log: what stands before is of earlier lives."""
        self.on_restart: Callable[[], None] = lambda: None
        self.on_death: Callable[[int, int], Awaitable[None]] = _nobody_cares
        """Told pid and exit code (negative: the signal) before it is started again."""

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._child.pid if self._child and self._child.exit_code is None else None

    @property
    def url(self) -> str:
        """Its own HTTP address."""
        return self.member.url

    async def start(self) -> None:
        """Start it; returns before it is ready."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # In our own folder, not in its: the user's modules and files are here.
        argv = ("env", "-C", str(Path.cwd()), *self.member.argv)
        command = Command(argv, self.member.environment)
        self._begins_at = self.log.stat().st_size if self.log.exists() else 0
        self._child = await Child.start(command, self._folder)

    async def until_ready(self) -> None:
        """Return when /readyz says so; raises `MemberFailed` when it ends or takes too long."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await is_ready(self.member.url):
                    if self._child is not None and self._child.exit_code is not None:
                        raise self._failure(f"ended with exit code {self._child.exit_code}")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise self._failure(f"was not ready within {_START_SECONDS:.0f} s") from None

    async def watch(self) -> None:
        """Start it again whenever it dies, until cancelled; at once the first time.

        A machine that has no memory or process to spare for it at the moment is asked again.
        """
        backoff = Backoff()
        while self._child is not None:
            began = asyncio.get_running_loop().time()
            code = await self._child.wait()
            await self.on_death(self._child.pid, code)
            lived = asyncio.get_running_loop().time() - began
            await self._pause(f"died ({cause(code)})", backoff.pause(lived))
            while (failure := await self._failure_to_start()) is not None:
                await self._pause(f"could not be started ({failure})", backoff.pause())
            self.on_restart()

    async def _pause(self, what: str, pause: float) -> None:
        next_ = f"starting it again in {pause:g} s" if pause else "starting it again"
        self._tell(f"{self.member.name} {what}; {next_}. Log: {self.log}")
        await asyncio.sleep(pause)

    async def _failure_to_start(self) -> OSError | None:
        try:
            await self.start()
        except OSError as error:
            return error
        return None

    async def stop(self, patience: float) -> None:
        """TERM, then KILL after `patience` seconds; whatever it still held is taken up later."""
        if self._child is None:
            return
        if self._child.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._child.wait()
        self.kill()
        await self._child.stop()

    def kill(self) -> None:
        """End it at once."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    @property
    def last_lines(self) -> list[str]:
        """The end of what it has printed in this life."""
        with self.log.open("rb") as log:
            log.seek(max(self._begins_at, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            return last_lines(log.read())

    def _failure(self, what: str) -> MemberFailed:
        lines = self.last_lines
        tail = "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"
        return MemberFailed(f"{self.member.name} {what}. The end of {self.log}:\n{tail}")


async def _nobody_cares(pid: int, code: int) -> None:
    pass


async def is_ready(url: str) -> bool:
    """Whether the process at this address answers /readyz with 200."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
