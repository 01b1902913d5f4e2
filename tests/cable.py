"""A network cable that a test can cut, and one end of which it can hold still."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Cable:
    """Passes bytes between clients and a server. `url` is the server's, by way of the cable."""

    def __init__(self, url: str) -> None:
        self.url = ""
        self._target = urlsplit(url)
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    def lead_to(self, url: str) -> None:
        """From the next connection on, to another server."""
        self._target = urlsplit(url)

    @property
    def connections(self) -> int:
        """How many there are at this moment."""
        return len(self._writers) // 2

    def cut(self) -> None:
        """Every connection breaks; new ones are possible at once."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """Connections stay and nothing passes any more, until `flow`."""
        self._flows.clear()

    def flow(self) -> None:
        """Let it pass, also what was held."""
        self._flows.set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator["Cable"]:
        """Listen on a free port."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        login = self._target.netloc.rpartition("@")[0]
        netloc = f"{login}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}"
        self.url = urlunsplit(self._target._replace(netloc=netloc))
        try:
            yield self
        finally:
            server.close()
            self.flow()
            self.cut()
            await server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(
                self._target.hostname, self._target.port
            )
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer))
                group.create_task(self._pass(far_reader, writer))
        finally:
            self._writers -= both

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                await self._flows.wait()
                target.write(data)
                await target.drain()
        target.transport.abort()
