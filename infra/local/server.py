"""One private server: start it, wait until it really answers, restart it when it dies, stop it.

A subclass says which ports it needs, what to write before it starts, which command it is, and how
to tell that it answers. A restart uses the same ports: they are in URLs that others hold.
"""

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import structlog

from infra.local.child import OUTPUT, Child, Command
from infra.local.ports import Ports, is_free

log = structlog.get_logger()

# RabbitMQ takes 3 to 7 s, and half a minute on a machine with 25 others waiting for its 2 cores.
START_SECONDS = 120.0
POLL_SECONDS = 0.02
TAIL_LINES = 15
BACKOFF_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)


class ServerFailed(Exception):
    """A server did not come up. The text has the end of its log and what to do."""


class Server(ABC):
    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, ports: Ports, held: tuple[int, ...] = ()) -> None:
        self.folder = folder
        self.ports: dict[str, int] = {}
        self._kept = ports
        self._held = held
        self._child: Child | None = None
        self._stopped = False
        self._turn = asyncio.Lock()
        """Held to spawn and to stop: a stop never overlooks a process that is just being born."""

    @abstractmethod
    def prepare(self) -> None:
        """Write folders and configuration; the ports are known. May run again."""

    @abstractmethod
    def command(self) -> Command: ...

    @abstractmethod
    async def answers(self) -> bool:
        """One question to the server, no waiting. OSError, EOFError count as no."""

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.exit_code is None else None

    @property
    def log_file(self) -> Path:
        return self.folder / OUTPUT

    async def start(self) -> None:
        """Returns when it answers. A port that is lost between choice and bind is chosen anew."""
        self._stopped = False
        for tries_left in (2, 1, 0):
            self.ports = self._kept.claim(*self.port_names)
            try:
                await self._run()
            except ServerFailed:
                if tries_left == 0 or all(is_free(port) for port in self.ports.values()):
                    raise
            else:
                return

    async def watch(self) -> None:
        """Runs until cancelled or stopped; restarts the server whenever it dies."""
        deaths = 0
        while self._child:
            began = asyncio.get_running_loop().time()
            code = await self._child.wait()
            if self._stopped:
                return
            lived = asyncio.get_running_loop().time() - began
            deaths = 1 if lived > BACKOFF_SECONDS[-1] else deaths + 1
            pause = BACKOFF_SECONDS[min(deaths, len(BACKOFF_SECONDS)) - 1]
            log.warning("server_died", server=self.name, exit_code=code, restart_in_seconds=pause)
            await asyncio.sleep(pause)
            await self._restart()

    async def stop(self) -> None:
        """Stops it cleanly; does nothing when it does not run."""
        self._stopped = True
        async with self._turn:
            if self._child:
                await self._child.stop()

    async def _restart(self) -> None:
        try:
            await self._run()
        except ServerFailed as failure:
            if not self._stopped:
                log.error("server_not_restarted", server=self.name, why=str(failure), next="retry")
        else:
            log.info("server_restarted", server=self.name, pid=self.pid)

    async def _run(self) -> None:
        child = await self._spawn()
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._until_it_answers(child)
        except TimeoutError:
            await child.stop()
            raise self._failure(f"gave no answer within {START_SECONDS:.0f} s") from None

    async def _spawn(self) -> Child:
        async with self._turn:
            if self._stopped:
                raise ServerFailed(f"{self.name} was stopped before it started.")
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.prepare()
                self._child = await Child.start(self.command(), self.folder, self._held)
            except OSError as refusal:
                raise ServerFailed(f"{self.name} cannot be started: {refusal}") from refusal
            return self._child

    async def _until_it_answers(self, child: Child) -> None:
        while not await self._answered():
            if child.exit_code is not None:
                await child.wait()
                raise self._failure(f"ended with exit code {child.exit_code} while it started")
            await asyncio.sleep(POLL_SECONDS)

    async def _answered(self) -> bool:
        try:
            async with asyncio.timeout(2):
                return await self.answers()
        except (OSError, EOFError, TimeoutError):
            return False

    def _failure(self, what: str) -> ServerFailed:
        lines = self.log_file.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        tail = "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"
        return ServerFailed(
            f"{self.name} {what}. The end of {self.log_file}:\n{tail}\n"
            f"If its data is damaged and not needed, remove {self.folder} and start again."
        )
