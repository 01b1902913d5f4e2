"""The real processes, started by the test itself, killed, and started again.

Each is the command that users run (`dueq gateway`, …) in a process of its own. One that is to have
a bug or a crash point is started by `tests.chaos.launcher` instead; a crash point is only in its
first life. No process outlives the test: the kernel ends it when the test's own process ends.
"""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from infra.local.child import Child, Command
from infra.local.ports import Ports
from infra.local.servers import Urls
from infra.up.member import is_ready
from tests.chaos.crash import CRASH
from tests.chaos.mutants import MUTANT, MUTANTS
from tests.chaos.sink import SINK, Sighting, read

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 3.0
REST_SECONDS = 0.5
"""Between the death of a process and its next life."""
START_SECONDS = 60.0
STARTS_AT_ONCE = 4
"""A start is a second of CPU: a crowd of them would starve those that already work."""


@dataclass(frozen=True)
class Part:
    """One process to run. Without `mutant` and `crash` it is the plain command."""

    role: str
    amqp: str | None = None
    """Another vhost than the system's."""
    queues: Sequence[str] = ("default",)
    concurrency: int = 10
    crash: str | None = None
    mutant: str | None = None
    lease_seconds: float = LEASE_SECONDS

    @property
    def argv(self) -> Sequence[str]:
        """The command line."""
        planted = self.crash or self.mutant
        module = "tests.chaos.launcher" if planted else "infra.cli"
        return (sys.executable, "-P", "-m", module, self.role, *self._options())

    def _options(self) -> Sequence[str]:
        if self.role != "worker":
            return ()
        queues = [f"--queue={queue}" for queue in self.queues]
        return (*queues, f"--concurrency={self.concurrency}", "--import=tests.chaos.tasks")

    @property
    def environment(self) -> Mapping[str, str]:
        """Beside the system's."""
        wanted = {
            "DUEQ_AMQP_URL": self.amqp,
            "DUEQ_LEASE_SECONDS": f"{self.lease_seconds:g}",
            CRASH: self.crash,
            MUTANT: self.mutant,
        }
        return {name: value for name, value in wanted.items() if value}


@dataclass(eq=False)
class Member:
    """A part in its present life."""

    name: str
    part: Part
    port: int
    child: Child
    first_pid: int
    lives: int = 1
    on_death: Callable[[], None] = field(default=lambda: None)

    @property
    def pid(self) -> int:
        """Of this life."""
        return self.child.pid

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """`kill -9`."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class System:
    """Processes on the same three servers. `mutant` puts a bug into every process of its role."""

    def __init__(self, urls: Urls, folder: Path, mutant: str | None = None) -> None:
        self.urls = urls
        self.members: list[Member] = []
        self._folder = folder
        self._mutant = mutant
        self._ports = Ports(folder)
        self._begun: Counter[str] = Counter()
        self._room = asyncio.Semaphore(STARTS_AT_ONCE)
        self._group = asyncio.TaskGroup()
        self._watches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        for watch in self._watches:
            watch.cancel()
        await self._group.__aexit__(None, None, None)
        for member in self.members:
            member.kill()
        await asyncio.gather(*(member.child.stop() for member in self.members))

    @property
    def sink(self) -> Path:
        """What the jobs of this system write into."""
        return self._folder / "sink"

    def seen(self) -> Sequence[Sighting]:
        """All that they wrote so far."""
        return read(self.sink)

    def of(self, role: str) -> Sequence[Member]:
        """Its members of a role."""
        return [member for member in self.members if member.part.role == role]

    async def start(self, *parts: Part) -> Sequence[Member]:
        """Start these and supervise them; return when all are ready."""
        return await asyncio.gather(*(self._begin(part) for part in parts))

    async def until_ready(self, member: Member) -> None:
        """Return when it says so itself; it may have died and be in a later life by then."""
        async with asyncio.timeout(START_SECONDS):
            while not await is_ready(f"http://127.0.0.1:{member.port}"):
                await asyncio.sleep(0.05)

    async def until_dead(self, member: Member, within: float) -> None:
        """Return when its first life is over."""
        async with asyncio.timeout(within):
            while member.lives == 1:
                await asyncio.sleep(0.05)

    async def _begin(self, part: Part) -> Member:
        async with self._room:
            member = await self._first_life(part)
            self.members.append(member)
            self._watches.append(self._group.create_task(self._supervise(member)))
            await self.until_ready(member)
        return member

    async def _first_life(self, part: Part) -> Member:
        self._begun[part.role] += 1
        name = f"{part.role}-{self._begun[part.role]}"
        (self._folder / name).mkdir()
        if self._mutant and MUTANTS[self._mutant][0] == part.role:
            part = replace(part, mutant=self._mutant)
        port = self._ports.claim(name)[name]
        child = await self._launch(name, part, port)
        return Member(name, part, port, child, child.pid)

    async def _launch(self, name: str, part: Part, port: int) -> Child:
        environment = {
            "DUEQ_AMQP_URL": self.urls.amqp or "",
            "DUEQ_MONGO_URL": self.urls.mongo or "",
            "DUEQ_REDIS_URL": self.urls.redis or "",
            "DUEQ_HTTP_PORT": str(port),
            "PYTHONPATH": str(ROOT),
            SINK: str(self.sink),
            **part.environment,
        }
        return await Child.start(Command(part.argv, environment), self._folder / name)

    async def _supervise(self, member: Member) -> None:
        while True:
            await member.child.wait()
            member.on_death()
            await asyncio.sleep(REST_SECONDS)
            member.part = replace(member.part, crash=None)
            member.child = await self._launch(member.name, member.part, member.port)
            member.lives += 1
