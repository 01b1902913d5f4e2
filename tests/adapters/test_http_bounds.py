"""Servers that never come to an end: an http job takes its time, and little memory."""

import asyncio
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from pipeline.domain.execution import Failed, Succeeded, TimedOut
from tests.builders import a_job
from tests.endings import failure, success
from tests.http_world import call, executing, receiving, redirect

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 1024 * 1024
STREAMS = {
    "a body": (OK + b"\r\n", b"x" * 65_536),
    "a body in chunks": (OK + CHUNKED, b"4000\r\n" + b"x" * 0x4000 + b"\r\n"),
    "a body of its length": (OK + b"Content-Length: 99999999999999\r\n\r\n", b"x" * 65_536),
    "headers": (OK, b"X-A: " + b"a" * 1000 + b"\r\n"),
    "many small headers": (OK, b"A: b\r\n" * 1000),
    "one header": (OK + b"X-A: ", b"a" * 65_536),
    "a status line": (b"HTTP/1.1 200 ", b"a" * 65_536),
    "a chunk's extension": (OK + CHUNKED + b"4;", b"a" * 65_536),
    "trailers": (OK + CHUNKED + b"0\r\n", b"X-A: b\r\n" * 1000),
    "interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 100),
}  # fmt: skip


@asynccontextmanager
async def endless(start: bytes, more: bytes, pause: float = 0.0) -> AsyncIterator[str]:
    """Sends `start`, then `more` for ever; its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(start)
            while not writer.is_closing():
                writer.write(more)
                await writer.drain()
                await asyncio.sleep(pause)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in tasks:
            task.cancel()


def peak_memory() -> int:
    """The most that this process has had since `forget_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024


def forget_peak() -> int:
    """Begin anew; what it has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


@pytest.mark.parametrize("what", STREAMS)
async def test_whatever_never_ends_costs_its_time_and_little_memory(what: str) -> None:
    start, more = STREAMS[what]
    async with endless(start, more) as url:
        before, began = forget_peak(), time.monotonic()
        ending = await call(url, timeout=1.5)
        took = time.monotonic() - began
    assert took < 10
    assert peak_memory() - before < 32 * MIB
    assert isinstance(ending, Failed | TimedOut | Succeeded)
    if isinstance(ending, Succeeded):
        assert what.startswith("a body")
        assert ending.report["truncated"]
        assert len(ending.report["body"]) == 65_536


async def test_an_answer_that_comes_a_byte_at_a_time_is_not_waited_for() -> None:
    """Each byte comes in time; all of them do not."""
    async with endless(OK + b"\r\n", b"x", pause=0.01) as url:
        began = time.monotonic()
        ending = await call(url, timeout=0.5)
        assert time.monotonic() - began < 5
    assert isinstance(ending, TimedOut)
    assert ending.error.message == "answered 200, but not to the end within 0.5 s"


async def test_redirects_share_the_time_of_the_request() -> None:
    async with receiving() as receiver:
        receiver.answers = {"/": redirect("/slow")}
        began = time.monotonic()
        assert isinstance(await call(receiver.url, redirects=20, timeout=0.3), TimedOut)
        assert time.monotonic() - began < 5


async def test_a_redirect_loop_with_endless_bodies_ends_too() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"
    async with endless(answer, b"x" * 65_536) as url:
        before = forget_peak()
        ending = failure(await call(url, redirects=20, timeout=20))
        assert ending.error.type == "redirects"
        assert peak_memory() - before < 32 * MIB


async def test_a_connection_that_is_not_made_in_time_is_given_up() -> None:
    """A backlog that is full: the handshake is never answered."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        try:
            began = time.monotonic()
            ending = await call(f"http://127.0.0.1:{port}/", connect_timeout=0.2)
            assert isinstance(ending, TimedOut)
            assert ending.error.message == "no connection within 0.2 s"
            assert time.monotonic() - began < 5
        finally:
            for each in crowd:
                each.close()


class Doorman:
    """Answers and keeps every connection; how many came, are open, and were so at most."""

    def __init__(self, answer: bytes = b"Content-Length: 0\r\n\r\n") -> None:
        self.came = self.open = self.most = 0
        self.answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        self.open += 1
        self.most = max(self.most, self.open)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(OK + self.answer)
        self.open -= 1
        writer.close()


@pytest.fixture
def few_files() -> Iterator[int]:
    """This process may open few files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    yield 300
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_of_many_targets_only_some_connections_are_kept(few_files: int) -> None:
    """Or those that nobody uses would take all the files that the worker may open."""
    doorman = Doorman()
    async with (
        await asyncio.start_server(doorman.serve, "0.0.0.0", 0) as server,
        executing("127.0.0.0/8") as executors,
    ):
        port = server.sockets[0].getsockname()[1]
        for number in range(1, 151):
            url = f"http://127.1.2.{number}:{port}/"
            success(await executors.run(a_job(body={"http": {"url": url}})))
        assert doorman.most <= few_files // 4 + 10  # it hears of an end a moment later


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 2\r\n\r\n{}",
        b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000,
        CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    ],
    ids=["nothing", "a little", "a lot", "chunks"],
)
async def test_of_one_target_the_connection_is_used_again(answer: bytes) -> None:
    doorman = Doorman(answer)
    async with (
        await asyncio.start_server(doorman.serve, "127.0.0.1", 0) as server,
        executing("127.0.0.0/8") as executors,
    ):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for _ in range(3):
            success(await executors.run(a_job(body={"http": {"url": url}})))
    assert doorman.came == 1
