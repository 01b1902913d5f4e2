"""HTTP jobs against a real server on loopback."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from pipeline.domain.execution import Ending, Failed, Succeeded, TimedOut
from tests.builders import a_job
from workers.executors.executors import Executors
from workers.executors.http import open_http
from workers.executors.task import TaskExecutor
from workers.tasks import Registry

HERE = ("127.0.0.1", "::1")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver:
    """A server that notes every request and answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.BaseRequest, bytes]] = []
        self.connections = 0
        self.url = ""
        self.answer: Callable[[], web.Response] = web.Response

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append((request, await request.read()))
        if request.path == "/slow":
            await asyncio.sleep(60)
        if request.path == "/endless":
            return await self._endless(request)
        return self.answer()

    async def _endless(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 10_000)
        except ConnectionError:
            return response

    @property
    def last(self) -> web.BaseRequest:
        return self.requests[-1][0]

    @property
    def body(self) -> bytes:
        return self.requests[-1][1]


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    runner = web.ServerRunner(web.Server(receiver.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}"
    yield receiver
    await runner.cleanup()


@asynccontextmanager
async def executing(*allow: str) -> AsyncIterator[Executors]:
    async with open_http(allow, "DueQ/test") as http:
        yield Executors(TaskExecutor(Registry(), threads=1), http=http)


async def call(url: str, *allow: str, timeout: float = 300, **fields: Any) -> Ending:
    job = a_job(
        body={"http": {"url": url, **fields}, "timeout": timeout},
        id="the-job", attempt=3, traceparent=PARENT,
    )  # fmt: skip
    async with executing(*(allow or HERE)) as executors:
        return await executors.run(job)


def failure(ending: Ending) -> Failed:
    assert isinstance(ending, Failed)
    return ending


async def test_an_answer_within_success_succeeds_and_is_reported(receiver: Receiver) -> None:
    receiver.answer = lambda: web.Response(text="grüße", headers={"X-A": "1"})
    ending = await call(receiver.url)

    assert isinstance(ending, Succeeded)
    assert ending.result == {"status": 200}
    assert ending.report["body"] == "grüße"
    assert ending.report["headers"]["X-A"] == "1"
    assert ending.report["truncated"] is False


async def test_every_request_carries_what_drops_the_copies(receiver: Receiver) -> None:
    """And no user can forge it."""
    forged = {"dueq-attempt": "99", "IDEMPOTENCY-KEY": "mine", "X-Own": "kept"}
    await call(receiver.url, headers=forged)

    headers = receiver.last.headers
    assert headers.getall("DueQ-Attempt") == ["3"]
    assert headers.getall("Idempotency-Key") == ["the-job"]
    assert headers["DueQ-Job-Id"] == "the-job"
    assert headers["DueQ-Scheduled-At"] == "2026-01-01T12:00:00.000Z"
    assert headers["traceparent"] == PARENT
    assert headers["X-Own"] == "kept"
    assert headers["User-Agent"] == "DueQ/test"


async def test_a_string_is_sent_as_it_is_and_anything_else_as_json(receiver: Receiver) -> None:
    assert isinstance(await call(receiver.url, method="POST", body="grüße"), Succeeded)
    assert receiver.body == "grüße".encode()
    assert isinstance(await call(receiver.url, method="PUT", body={"a": 1}), Succeeded)
    assert receiver.body == b'{"a":1}'
    assert receiver.last.content_type == "application/json"
    await call(receiver.url, method="POST", body="<a/>", headers={"content-type": "text/xml"})
    assert receiver.last.headers.getall("Content-Type") == ["text/xml"]


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (404, False), (408, True), (410, False), (425, True), (429, True), (500, True),
     (503, True), (301, True)],
)  # fmt: skip
async def test_another_status_fails_and_most_client_errors_for_good(
    receiver: Receiver, status: int, retryable: bool
) -> None:
    receiver.answer = lambda: web.Response(status=status, text="why")
    ending = failure(await call(receiver.url))
    assert ending.error.type == "http_status"
    assert ending.retryable is retryable
    assert ending.report["status"] == status
    assert ending.report["body"] == "why"


async def test_the_job_says_what_success_is(receiver: Receiver) -> None:
    receiver.answer = lambda: web.Response(status=404)
    assert isinstance(await call(receiver.url, success=["404"]), Succeeded)
    receiver.answer = lambda: web.Response(status=200)
    assert isinstance(await call(receiver.url, success=["404"]), Failed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7", timedelta(seconds=7)), ("999999999", timedelta(days=1)), ("-1", None), ("soon", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)  # fmt: skip
async def test_retry_after_in_seconds_is_honoured(
    receiver: Receiver, text: str, expected: timedelta | None
) -> None:
    receiver.answer = lambda: web.Response(status=503, headers={"Retry-After": text})
    assert failure(await call(receiver.url)).retry_after == expected


async def test_a_redirect_is_a_result_and_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = lambda: web.Response(
        status=302, headers={"Location": f"{receiver.url}/other"}
    )
    ending = failure(await call(receiver.url))
    assert ending.report["headers"]["Location"].endswith("/other")
    assert len(receiver.requests) == 1


async def test_a_cookie_of_one_answer_is_not_sent_with_the_next_request(
    receiver: Receiver,
) -> None:
    receiver.answer = lambda: web.Response(headers={"Set-Cookie": "a=1"})
    async with executing(*HERE) as executors:
        for _ in range(2):
            job = a_job(body={"http": {"url": receiver.url}})
            assert isinstance(await executors.run(job), Succeeded)
    assert "Cookie" not in receiver.last.headers


async def test_a_proxy_of_the_environment_is_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert isinstance(await call(receiver.url), Succeeded)


async def test_of_an_endless_answer_the_start_is_kept(receiver: Receiver) -> None:
    ending = await call(f"{receiver.url}/endless", timeout=10)
    assert isinstance(ending, Succeeded)
    assert ending.report["truncated"] is True
    assert len(ending.report["body"]) == 64 * 1024


def compressed() -> web.Response:
    answer = web.Response(body=b"\0" * 10_000_000)
    answer.enable_compression(web.ContentCoding.gzip)
    return answer


async def test_a_compressed_answer_is_not_inflated(receiver: Receiver) -> None:
    receiver.answer = compressed
    ending = await call(receiver.url)
    assert isinstance(ending, Succeeded)
    assert receiver.last.headers["Accept-Encoding"] == "identity"
    body = ending.report["body"]
    assert len(base64.b64decode(body["base64"])) <= 64 * 1024


async def test_a_cut_through_a_character_leaves_text(receiver: Receiver) -> None:
    receiver.answer = lambda: web.Response(body=b"x" + "ü".encode() * 40_000)
    ending = await call(receiver.url)
    assert ending.report["body"].endswith("ü")  # type: ignore[union-attr]


async def test_headers_that_are_no_text_can_still_be_stored(receiver: Receiver) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 \xff\r\nX-Odd: \xff\xfe\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ending = await call(f"http://127.0.0.1:{port}")
    assert isinstance(ending, Succeeded)
    str(ending.report).encode()


async def test_a_slow_answer_times_out_by_the_timeout_of_the_request(receiver: Receiver) -> None:
    ending = await call(f"{receiver.url}/slow", timeout=0.05)
    assert isinstance(ending, TimedOut)
    async with executing(*HERE) as executors:
        job = a_job(body={"http": {"url": f"{receiver.url}/slow", "timeout": 0.05}})
        assert isinstance(await executors.run(job), TimedOut)


async def test_nobody_there_is_a_failure_that_is_tried_again(receiver: Receiver) -> None:
    for url in ("http://127.0.0.1:1/", "http://no-such-host.invalid/"):
        ending = failure(await call(url))
        assert ending.error.type == "unreachable"
        assert ending.retryable


async def test_an_answer_that_is_no_http_is_a_failure() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert isinstance(await call(f"http://127.0.0.1:{port}"), Failed)


@pytest.mark.parametrize("header", ["Content-Length", "transfer-encoding", "Connection"])
async def test_where_a_request_ends_is_not_the_users_to_say(
    receiver: Receiver, header: str
) -> None:
    ending = failure(await call(receiver.url, headers={header: "1"}))
    assert ending.error.type == "forbidden_header"
    assert not ending.retryable
    assert receiver.requests == []


# -- where it may go


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]",
             "[::ffff:7f00:1]", "0.0.0.0"],
)  # fmt: skip
async def test_nobody_on_loopback_is_reached_unless_it_is_allowed(host: str) -> None:
    """Not even a connection is opened, whatever the spelling."""
    reached = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ending = failure(await call(f"http://{host}:{port}/", "203.0.113.0/24"))

    assert ending.error.type in ("forbidden_target", "invalid_url")
    assert not ending.retryable
    assert not reached.is_set()


async def test_a_listed_host_may_be_reached_and_opens_no_door_for_others(
    receiver: Receiver,
) -> None:
    """The connection that the listed name left in the pool must not serve another name."""
    port = receiver.url.rpartition(":")[2]
    async with executing("localhost") as executors:
        listed = a_job(body={"http": {"url": f"http://localhost:{port}"}})
        other = a_job(body={"http": {"url": f"http://127.0.0.1:{port}"}})
        assert isinstance(await executors.run(listed), Succeeded)
        assert failure(await executors.run(other)).error.type == "forbidden_target"
