"""A private mongod as a replica set of one member: majority writes, journal, a primary in 0.6 s.

The drivers belong to `pipeline.store` alone. What is needed here, three commands to a fresh server,
is one kind of message: OP_MSG, with the `bson` package that comes with pymongo and needs no driver.
"""

import asyncio
import shutil
import struct
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bson

from infra.local.child import Command
from infra.local.server import Server

OP_MSG = 2013


def find_mongod() -> Path | None:
    """On PATH, else where the wheel `fiftyone-db` puts it; that package is not imported."""
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    in_wheel = Path(sysconfig.get_path("platlib")) / "fiftyone/db/bin/mongod"
    return in_wheel if in_wheel.exists() else None


class MongoDb(Server):
    name = "MongoDB"
    port_names = ("mongo",)

    @property
    def url(self) -> str:
        options = "replicaSet=dueq&w=majority&journal=true"
        return f"mongodb://{self._address}/dueq?{options}"

    def prepare(self) -> None:
        (self.folder / "data").mkdir(exist_ok=True)

    def command(self) -> Command:
        options = {
            "--replSet": "dueq",
            "--bind_ip": "127.0.0.1",
            "--port": str(self.ports["mongo"]),
            "--dbpath": str(self.folder / "data"),
            "--wiredTigerCacheSizeGB": "0.25",
            "--setParameter": "diagnosticDataCollectionEnabled=false",
        }
        words = (word for pair in options.items() for word in pair)
        return Command((str(find_mongod()), *words, "--quiet", "--nounixsocket"))

    async def answers(self) -> bool:
        """Primary, and of a set that knows it by the address it has today."""
        async with _Connection(self.ports["mongo"]) as mongod:
            hello = await mongod.ask({"hello": 1})
            if hello.get("isWritablePrimary"):
                return bool(hello["me"] == self._address)
            if not hello.get("secondary"):
                await self._place(mongod)
            return False

    @property
    def _address(self) -> str:
        return f"127.0.0.1:{self.ports['mongo']}"

    async def _place(self, mongod: "_Connection") -> None:
        """Tells a fresh member its set, and one whose data knows another port where it is now.

        Refusals are not looked at: as it starts up it refuses both, and the next poll asks again.
        (It first asks the old port "are you me?". If what took that port stays silent, it listens
        to the silence for 30 s.)
        """
        stored = await mongod.ask(
            {"find": "system.replset", "limit": 1, "singleBatch": True}, database="local"
        )
        configurations = stored.get("cursor", {}).get("firstBatch", [])
        if not configurations:
            member = {"_id": 0, "host": self._address}
            await mongod.ask({"replSetInitiate": {"_id": "dueq", "members": [member]}})
        elif configurations[0]["members"][0]["host"] != self._address:
            moved = configurations[0]
            moved["members"][0]["host"] = self._address
            moved["version"] += 1
            await mongod.ask({"replSetReconfig": moved, "force": True})


class _Connection:
    """Commands to one mongod, one after the other, whatever its place in a set."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "_Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._writer.close()

    async def ask(self, command: Mapping[str, Any], database: str = "admin") -> dict[str, Any]:
        # Header: length, request id, response to, opcode. Body: no flags, one section of kind 0.
        body = bson.encode(
            {**command, "$db": database, "$readPreference": {"mode": "primaryPreferred"}}
        )
        self._writer.write(struct.pack("<iiiiIB", 21 + len(body), 1, 0, OP_MSG, 0, 0) + body)
        (length,) = struct.unpack("<i", await self._reader.readexactly(4))
        answer = await self._reader.readexactly(length - 4)
        return bson.decode(answer[17:])
