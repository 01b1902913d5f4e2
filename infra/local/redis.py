"""A private Redis that keeps nothing on disk: the reconciler rebuilds what a crash loses."""

import asyncio

from infra.local.child import Command
from infra.local.server import Server


class Redis(Server):
    name = "Redis"
    port_names = ("redis",)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.ports['redis']}/0"

    def prepare(self) -> None:
        pass

    def command(self) -> Command:
        options = {
            "--port": str(self.ports["redis"]),
            "--bind": "127.0.0.1",
            "--dir": str(self.folder),
            "--save": "",
            "--appendonly": "no",
            "--maxmemory-policy": "noeviction",
            "--daemonize": "no",
            "--databases": "512",  # each test takes one of its own
        }
        return Command(("redis-server", *(word for pair in options.items() for word in pair)))

    async def answers(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["redis"])
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"
        finally:
            writer.close()
