"""A private RabbitMQ node, and the epmd it registers with.

epmd is a foreground child of its own on a port of its own: the daemon that RabbitMQ would start by
itself outlives the node, and Erlang's usual port belongs to whoever runs Erlang on this machine.
The node's name is fixed because it names the data folder. `kill -9` loses no confirmed message,
with one exception: a quorum queue declared within the last second.
"""

import asyncio
import os
import subprocess
from pathlib import Path

from infra.local.child import Command
from infra.local.ports import Ports
from infra.local.server import Server

# Debian's /usr/sbin/rabbitmq-server changes the user; these do not.
BIN = Path("/usr/lib/rabbitmq/bin")

CONFIGURATION = """\
listeners.tcp.default = 127.0.0.1:{amqp}
heartbeat = 10
vm_memory_high_watermark.absolute = 512MiB
disk_free_limit.absolute = 256MB
log.console = false
raft.wal_max_size_bytes = 33554432
"""


class Epmd(Server):
    name = "epmd"
    port_names = ("epmd",)

    def prepare(self) -> None:
        pass

    def command(self) -> Command:
        return Command(("epmd", "-address", "127.0.0.1", "-port", str(self.ports["epmd"])))

    async def answers(self) -> bool:
        """NAMES_REQ: it answers with its own port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["epmd"])
        try:
            writer.write(b"\x00\x01n")
            return int.from_bytes(await reader.readexactly(4), "big") == self.ports["epmd"]
        finally:
            writer.close()


class RabbitMq(Server):
    name = "RabbitMQ"
    port_names = ("amqp", "dist")

    def __init__(self, folder: Path, ports: Ports, held: tuple[int, ...] = ()) -> None:
        super().__init__(folder, ports, held)
        self.epmd = Epmd(folder / "epmd", ports, held)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.ports['amqp']}/%2F"

    async def start(self) -> None:
        await self.epmd.start()
        await super().start()

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self.epmd.watch())
            both.create_task(super().watch())

    async def stop(self) -> None:
        await super().stop()
        await self.epmd.stop()

    def prepare(self) -> None:
        for name in ("mnesia", "log", "home"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "rabbitmq-env.conf").write_text("")
        (self.folder / "enabled_plugins").write_text("[].")
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION.format(**self.ports))

    def command(self) -> Command:
        return Command((str(BIN / "rabbitmq-server"),), self._environment())

    async def answers(self) -> bool:
        """A protocol header is answered with connection.start: a method frame (1) on channel 0.
        The listener opens last, when exchanges, queues and users are there."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["amqp"])
        try:
            writer.write(b"AMQP\x00\x00\x09\x01")
            return await reader.readexactly(3) == b"\x01\x00\x00"
        finally:
            writer.close()

    def evaluate(self, erlang: str) -> str:
        """Runs Erlang code in the node, a second or two; what it prints and returns."""
        done = subprocess.run(
            (str(BIN / "rabbitmqctl"), "--quiet", "eval", erlang),
            env=os.environ | self._environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "HOME": str(folder / "home"),  # the cookie is made here
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.epmd.ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "dueq@localhost",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_DIST_PORT": str(self.ports["dist"]),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            # With "input allowed" the script becomes the node instead of starting it: the signals
            # that tie a child to its parent reach the node itself.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput -kernel inet_dist_use_interface {127,0,0,1} +S 2:2"
            ),
        }
