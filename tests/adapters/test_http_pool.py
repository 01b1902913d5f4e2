"""Connections of http jobs that are used again, with servers that do what they should not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from pipeline.domain.execution import Ending
from tests.builders import a_job
from tests.endings import failure, success
from tests.http_world import HERE, executing
from workers.executors.executors import Executors

OWN = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"
STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class Server:
    """Serves each connection as it is told."""

    def __init__(self, serve: Callable[["Server", Reader, Writer], Awaitable[None]]) -> None:
        self._serve = serve
        self.url = ""
        self.connections = 0
        self.requests = 0

    async def request(self, reader: Reader) -> None:
        """Wait for one."""
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Executors]:
        """Jobs can call it inside."""

        async def serve(reader: Reader, writer: Writer) -> None:
            self.connections += 1
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(self, reader, writer)
            writer.close()

        async with (
            await asyncio.start_server(serve, "127.0.0.1", 0) as server,
            executing(*HERE) as executors,
        ):
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            yield executors

    async def call(self, executors: Executors, method: str = "GET") -> Ending:
        """One attempt."""
        return await executors.run(a_job(body={"http": {"url": self.url, "method": method}}))


async def write_cut(writer: Writer, data: bytes, cut: int) -> None:
    """In two pieces: the reader has the first before the second is there."""
    writer.write(data[:cut])
    await writer.drain()
    for _ in range(10):
        await asyncio.sleep(0)
    writer.write(data[cut:])
    await writer.drain()


@pytest.mark.parametrize(
    "stray",
    [STRAY, STRAY[:20], b"\r\n", b"junk"],
    ids=["an answer", "its start", "nothing", "junk"],
)
async def test_what_nobody_asked_for_is_no_answer_to_the_next_request(stray: bytes) -> None:
    """And a server that says it is busy, on a connection that has been idle for too long."""
    was_read, was_sent = asyncio.Event(), asyncio.Event()

    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        await server.request(reader)
        writer.write(OWN)
        await was_read.wait()
        writer.write(stray)
        await writer.drain()
        was_sent.set()
        await reader.read()

    server = Server(serve)
    async with server.running() as executors:
        for _ in range(3):
            was_read.clear()
            was_sent.clear()
            assert success(await server.call(executors)).report["body"] == "own"
            was_read.set()
            await was_sent.wait()
        assert server.connections == server.requests == 3


async def test_what_comes_with_the_end_of_an_answer_is_none_to_the_next_request() -> None:
    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        for _ in range(2):
            await server.request(reader)
            await write_cut(writer, OWN + STRAY, len(OWN) - 1)
        await reader.read()

    server = Server(serve)
    async with server.running() as executors:
        for _ in range(3):
            assert success(await server.call(executors)).report["body"] == "own"


@pytest.mark.parametrize("answer", [OWN, b"HTTP/1.1 204 No Content\r\n\r\n"])
@pytest.mark.parametrize("length", [1, 12, 20, len(STRAY) - 6])
async def test_an_answer_that_came_with_the_start_of_another_is_the_last_on_its_connection(
    answer: bytes, length: int
) -> None:
    """The rest would come in the place of the next one."""

    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        for sent in (answer + STRAY[:length], STRAY[length:]):
            await server.request(reader)
            writer.write(sent)
            await writer.drain()
        await reader.read()

    server = Server(serve)
    async with server.running() as executors:
        for _ in range(3):
            success(await server.call(executors))
        assert server.connections == server.requests == 3


async def test_a_connection_on_which_all_is_quiet_is_used_again() -> None:
    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        while True:
            await server.request(reader)
            writer.write(OWN if server.requests % 2 else b"HTTP/1.1 204 No Content\r\n\r\n")

    server = Server(serve)
    async with server.running() as executors:
        for _ in range(6):
            success(await server.call(executors))
        assert (server.connections, server.requests) == (1, 6)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\ndone"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\ndone"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"),
        ("GET", OWN + b" and more than it had said"),
        ("GET", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\ndone"),
    ],
    ids=["no content", "no content, counted", "a head", "more than counted", "after hints"],
)
async def test_an_answer_with_more_than_there_is_to_it_is_an_answer(
    method: str, answer: bytes
) -> None:
    """It has done what it was asked for. In how many pieces it comes is chance."""
    cuts = [len(answer), *(answer.rindex(b"\r\n\r\n") + n for n in range(5))]

    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        await server.request(reader)
        await write_cut(writer, answer, cuts[server.requests - 1])
        await reader.read()

    server = Server(serve)
    async with server.running() as executors:
        for _ in cuts:
            success(await server.call(executors, method))
        assert server.connections == server.requests == len(cuts)


@pytest.mark.parametrize("cut", [0, 1, 2])
async def test_a_body_that_breaks_off_into_no_http_is_not_waited_for(cut: int) -> None:
    """Also when its head was read by then: what is broken does not get better with time."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nown\r\nno size\r\n"
    at = answer.index(b"no size") - cut

    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        await server.request(reader)
        await write_cut(writer, answer, at)
        await reader.read()

    server = Server(serve)
    async with server.running() as executors:
        error = failure(await server.call(executors)).error
    assert error.type == "bad_answer"
    assert error.message == "the answer is no HTTP: Invalid character in chunk size"


async def test_a_server_that_goes_on_talking_is_hung_up_on() -> None:
    """Or what it says fills the memory, as long as the connection is kept."""
    was_read, hung_up = asyncio.Event(), asyncio.Event()

    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        await server.request(reader)
        writer.write(OWN)
        await was_read.wait()
        try:
            while True:
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(STRAY * 100)
        except ConnectionError:
            hung_up.set()

    server = Server(serve)
    async with server.running() as executors:
        success(await server.call(executors))
        was_read.set()
        async with asyncio.timeout(2):  # kept are connections for longer
            await hung_up.wait()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_server_that_hangs_up_after_each_answer_without_a_word_loses_no_request(
    method: str,
) -> None:
    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        await server.request(reader)
        writer.write(OWN)
        await writer.drain()

    server = Server(serve)
    async with server.running() as executors:
        for _ in range(50):
            success(await server.call(executors, method))
        assert server.requests == 50


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_an_attempt_is_one_request_also_when_the_server_hangs_up(method: str) -> None:
    """Only the retry policy says whether there is another one."""

    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        await server.request(reader)

    server = Server(serve)
    async with server.running() as executors:
        assert failure(await server.call(executors, method)).error.type == "disconnected"
    assert server.requests == 1
