"""All private servers of one data directory: those whose URL nobody gave.

One process at a time has the directory. Its servers live exactly as long as it does: stopped with
it, told to stop by the kernel when it is killed. Ports and data stay for the next start, which
waits for servers of a killed predecessor that are still writing their last pages.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local import install
from infra.local.mongodb import MongoDb
from infra.local.ports import Ports
from infra.local.rabbitmq import RabbitMq
from infra.local.redis import Redis
from infra.local.server import Server, ServerFailed

__all__ = ["DataDirInUse", "LocalServers", "ServerFailed", "Urls"]

PREDECESSOR_SECONDS = 20.0


class DataDirInUse(Exception):
    """Another process runs its servers in this directory."""


@dataclass(frozen=True)
class Urls:
    amqp: str | None = None
    mongo: str | None = None
    redis: str | None = None


def silent(progress: str) -> None:
    """Say nothing."""


def parts_for(given: Urls) -> Sequence[install.Part]:
    """What this machine needs to run the servers that are not given."""
    parts = [] if given.amqp else [install.RABBITMQ]
    parts += [] if given.mongo else [install.MONGOD, install.MONGOD_LIBRARIES]
    parts += [] if given.redis else [install.REDIS]
    return parts


class LocalServers:
    def __init__(self, data_dir: Path, given: Urls = Urls()) -> None:
        self.rabbitmq: RabbitMq | None = None
        self.mongodb: MongoDb | None = None
        self.redis: Redis | None = None
        self._data_dir = data_dir.absolute()
        self._given = given
        self._locks: list[int] = []

    async def start(self, on_progress: Callable[[str], None] = silent) -> None:
        """Returns when each of them answers; otherwise none of them is left running."""
        self._require_programs()
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._take_directory()
        try:
            servers_lock = await self._wait_for_predecessor(on_progress)
            self._create(servers_lock)
            await self._start_all(on_progress)
        except BaseException:
            await self.stop()
            raise

    @property
    def urls(self) -> Urls:
        return Urls(
            amqp=self.rabbitmq.url if self.rabbitmq else self._given.amqp,
            mongo=self.mongodb.url if self.mongodb else self._given.mongo,
            redis=self.redis.url if self.redis else self._given.redis,
        )

    @property
    def processes(self) -> list[tuple[str, int]]:
        epmd = [self.rabbitmq.epmd] if self.rabbitmq else []
        return [(each.name, each.pid) for each in (*epmd, *self._servers) if each.pid]

    async def watch(self) -> None:
        """Runs until cancelled; restarts a server that dies, on the same port."""
        async with asyncio.TaskGroup() as watches:
            for server in self._servers:
                watches.create_task(server.watch())

    async def stop(self) -> None:
        """Stops them cleanly and gives the directory back. May be called at any time, and again."""
        await asyncio.gather(*(server.stop() for server in self._servers))
        while self._locks:
            os.close(self._locks.pop())

    @property
    def _servers(self) -> list[Server]:
        return [each for each in (self.rabbitmq, self.mongodb, self.redis) if each]

    def _require_programs(self) -> None:
        if missing := install.missing(parts_for(self._given)):
            names = ", ".join(part.name for part in missing)
            raise ServerFailed(f"Not installed: {names}. To install:\n{install.advice(missing)}")

    def _take_directory(self) -> None:
        lock = os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._locks.append(lock)
        if not _locked(lock):
            self._locks.remove(lock)
            os.close(lock)
            raise DataDirInUse(f"{self._data_dir} is in use by another process: stop it first.")

    async def _wait_for_predecessor(self, on_progress: Callable[[str], None]) -> int:
        """The servers hold this second lock too, as long as they live: after a `kill -9` of their
        parent they take a second or two to write everything down."""
        lock = os.open(self._data_dir / "servers.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._locks.append(lock)
        if _locked(lock):
            return lock
        on_progress("Waiting for the servers of the last run to stop")
        try:
            async with asyncio.timeout(PREDECESSOR_SECONDS):
                while not _locked(lock):  # noqa: ASYNC110  (another process's event)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise DataDirInUse(f"{self._data_dir}: servers of an earlier run still run.") from None
        return lock

    def _create(self, servers_lock: int) -> None:
        ports = Ports(self._data_dir)
        held = (servers_lock,)
        if not self._given.amqp:
            self.rabbitmq = RabbitMq(self._data_dir / "rabbitmq", ports, held)
        if not self._given.mongo:
            self.mongodb = MongoDb(self._data_dir / "mongodb", ports, held)
        if not self._given.redis:
            self.redis = Redis(self._data_dir / "redis", ports, held)

    async def _start_all(self, on_progress: Callable[[str], None]) -> None:
        try:
            async with asyncio.TaskGroup() as starts:
                for server in self._servers:
                    starts.create_task(_start(server, on_progress))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def _start(server: Server, on_progress: Callable[[str], None]) -> None:
    began = time.monotonic()
    await server.start()
    on_progress(f"{server.name} answers after {time.monotonic() - began:.1f} s")


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
