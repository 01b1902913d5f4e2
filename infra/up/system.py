"""The whole system: private servers, every process of the plan, the balancer.

Started in the order in which they need each other, stopped the other way round: workers first, so
that what they hold is recorded while everything is still there. Jobs survive any order; this one
only leaves nothing to be reaped.
"""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from infra.local import install
from infra.local.haproxy import Balancer
from infra.local.ports import is_free
from infra.local.servers import LocalServers, Urls, parts_for
from infra.roles.death import death_of, report
from infra.roles.ports import url_at
from infra.settings import URLS_FILE
from infra.up.member import MemberFailed, Supervised
from infra.up.plan import Plan, front_port, members
from pipeline.config import Settings

_STOP_SECONDS = 5.0
_STOP_ORDER = ("worker", "watcher", "ingest", "gateway")


@dataclass(frozen=True)
class Running:
    """One process, as `dueq up -o json` lists it."""

    role: str
    pid: int
    http: str


class System:
    """One `dueq up`. `start`, then `watch` until the end, then `stop`, always."""

    def __init__(
        self, plan: Plan, settings: Settings, given: Urls, tell: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._given = given
        self._tell = tell
        self._servers = LocalServers(plan.data, given)
        self._members: list[Supervised] = []
        self._balancer: Balancer | None = None
        self._file = plan.data / URLS_FILE
        self._announced = False
        self.url = ""

    async def start(self) -> None:
        """Returns when every process is ready; installs what is missing on this machine first."""
        await asyncio.to_thread(install.install, self._missing(), self._tell)
        await self._servers.start(self._tell)
        port = front_port(self._plan)
        if not is_free(port):
            raise MemberFailed(f"port {port} is taken: name another with --port (0: any free one)")
        self.url = url_at(self._settings.http_host, port)
        for member in members(self._plan, self._settings, self.urls, self.url):
            supervised = Supervised(member, self._plan.data, self._tell)
            supervised.on_restart = self._write
            if member.role == "worker":
                supervised.on_death = partial(self._tell_of_death, supervised)
            self._members.append(supervised)
        await self._start_members()
        if self._plan.gateways > 1:
            await self._start_balancer(port)
        self._write()

    async def _tell_of_death(self, member: Supervised, pid: int, code: int) -> None:
        if self.urls.redis is not None:
            await report(death_of(pid, code, member.last_lines), self.urls.redis)

    def _missing(self) -> list[install.Part]:
        needed = list(parts_for(self._given))
        if self._plan.gateways > 1:
            needed.append(install.HAPROXY)
        return install.missing(needed)

    async def watch(self) -> None:
        """Restart what dies, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._servers.watch())
            for member in self._members:
                group.create_task(member.watch())
            if self._balancer is not None:
                group.create_task(self._balancer.watch())

    async def stop(self) -> None:
        """Stop everything that was started; may come at any time, and again."""
        if self._announced:  # without the directory's lock the file is another system's
            self._file.unlink(missing_ok=True)
        for role in _STOP_ORDER:
            if role == "gateway" and self._balancer is not None:
                await self._balancer.stop()
            patience = _STOP_SECONDS + (self._settings.drain_seconds if role == "worker" else 0)
            ours = [each for each in self._members if each.member.role == role]
            await asyncio.gather(*(each.stop(patience) for each in ours))
        await self._servers.stop()

    def kill(self) -> None:
        """End the processes at once; a `stop` under way then has nothing to wait for."""
        for member in self._members:
            member.kill()

    @property
    def urls(self) -> Urls:
        """The servers, private or given."""
        return self._servers.urls

    @property
    def processes(self) -> list[Running]:
        """Ours that run now, the balancer included; servers are not ours."""
        found = [Running(m.member.role, m.pid, m.url) for m in self._members if m.pid]
        if self._balancer is not None and self._balancer.pid:
            found.append(Running("balancer", self._balancer.pid, self.url))
        return found

    @property
    def description(self) -> dict[str, Any]:
        """The line that `dueq up -o json` prints."""
        return {
            "ready": True,
            "http": self.url,
            **asdict(self.urls),
            "processes": [asdict(each) for each in self.processes],
        }

    async def _start_members(self) -> None:
        for member in self._members:
            await member.start()
        try:
            async with asyncio.TaskGroup() as group:
                for member in self._members:
                    group.create_task(member.until_ready())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _start_balancer(self, port: int) -> None:
        gateways = [each.member.port for each in self._members if each.member.role == "gateway"]
        self._balancer = Balancer(self._plan.data, port, gateways, self._settings.http_host)
        await self._balancer.start()

    def _write(self) -> None:
        """For commands beside us: whole or not at all, and for nobody else's eyes."""
        fields = {"amqp_url": self.urls.amqp, "mongo_url": self.urls.mongo,
                  "redis_url": self.urls.redis, "url": self.url}  # fmt: skip
        text = json.dumps(fields | self.description | {"pid": os.getpid()}, indent=2) + "\n"
        fresh = Path(f"{self._file}.new")
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        fresh.replace(self._file)
        self._announced = True
