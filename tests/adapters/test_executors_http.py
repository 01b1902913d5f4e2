"""HTTP jobs against a real server on loopback."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
import pytest_asyncio
from aiohttp import web

from pipeline.domain.execution import Failed, Succeeded, TimedOut
from pipeline.domain.http_work import HttpAuth, SecretHeader
from pipeline.domain.secret import SecretRef
from tests.builders import a_job
from tests.endings import failure
from tests.fakes.clock import ManualClock
from tests.http_world import HERE, PARENT, Receiver, call, executing, raw_server, receiving


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


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
    forged |= {"DueQ-Schedule-Id": "mine", "DUEQ-FIRE-TIME": "mine"}  # this job has none
    await call(receiver.url, headers=forged)

    headers = receiver.last.headers
    assert headers.getall("DueQ-Attempt") == ["3"]
    assert headers.getall("Idempotency-Key") == ["the-job"]
    assert headers["DueQ-Job-Id"] == "the-job"
    assert headers["DueQ-Scheduled-At"] == "2026-01-01T12:00:00.000Z"
    assert headers["traceparent"] == PARENT
    assert headers["X-Own"] == "kept"
    assert "DueQ-Schedule-Id" not in headers
    assert "DueQ-Fire-Time" not in headers
    assert headers["User-Agent"] == "DueQ/test"


@pytest.mark.parametrize("name", ["DueQ-Attempt", "dueq-attempt", "idempotency-key"])
async def test_credentials_do_not_take_the_place_of_the_fence(
    receiver: Receiver, name: str
) -> None:
    auth = {"header": {"name": name, "value": {"secret": "A"}}}
    ending = failure(await call(receiver.url, auth=auth, secrets={"A": "99"}))
    assert (ending.error.type, ending.retryable) == ("forbidden_header", False)
    assert receiver.requests == []


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
    [("7", timedelta(seconds=7)), ("999999999", timedelta(days=1)),
     pytest.param("9" * 5000, timedelta(days=1), id="more digits than Python counts"),
     pytest.param("0" * 5000 + "7", timedelta(seconds=7), id="nearly all of them zeros"),
     ("-1", None), ("soon", None),
     ("", None), ("7.5", None), ("Wed, 21 Oct 2026 07:28:09 GMT", timedelta(seconds=9)),
     ("Wednesday, 21-Oct-26 07:28:09 GMT", timedelta(seconds=9)),
     ("Wed Oct 21 07:28:09 2026", timedelta(seconds=9)),
     ("0", None), ("Wed, 21 Oct 2026 07:27:00 GMT", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None),
     ("Wed, 21 Oct 2099 07:28:00 GMT", timedelta(days=1)), ("Wed, 99 Oct 2026 07:28:00 GMT", None)],
)  # fmt: skip
async def test_retry_after_is_obeyed_in_seconds_and_as_a_date_of_the_servers_clock(
    receiver: Receiver, text: str, expected: timedelta | None
) -> None:
    their_now = "Wed, 21 Oct 2026 07:28:00 GMT"
    headers = {"Retry-After": text, "Date": their_now}
    receiver.answer = lambda: web.Response(status=503, headers=headers)
    assert failure(await call(receiver.url)).retry_after == expected


async def test_without_a_date_of_the_answer_retry_after_is_read_by_our_clock() -> None:
    clock = ManualClock()
    answer = b"HTTP/1.1 503 no\r\nContent-Length: 0\r\nRetry-After: %s\r\n\r\n"
    async with raw_server(answer % b"Thu, 01 Jan 2026 12:00:30 GMT") as url:
        ending = failure(await call(url, clock=clock))
    assert ending.retry_after == timedelta(seconds=30)


async def test_the_job_says_what_is_not_worth_another_attempt(receiver: Receiver) -> None:
    for asked, status, retryable in (
        (["4xx", "501"], 501, False),
        (["4xx", "501"], 429, False),
        (["4xx", "501"], 500, True),
        (["410"], 404, True),
        ([], 404, True),
    ):
        receiver.answer = partial(web.Response, status=status)
        ending = failure(await call(receiver.url, not_retryable=asked))
        assert ending.retryable is retryable, (asked, status)


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


async def test_headers_that_are_no_text_can_still_be_stored() -> None:
    answer = b"HTTP/1.1 200 \xff\r\nX-Odd: \xff\xfe\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(answer) as url:
        ending = await call(url)
    assert isinstance(ending, Succeeded)
    str(ending.report).encode()


async def test_a_slow_answer_times_out_by_the_timeout_of_the_request(receiver: Receiver) -> None:
    ending = await call(f"{receiver.url}/slow", timeout=0.05)
    assert isinstance(ending, TimedOut)
    assert ending.error.message == "no answer within 0.05 s"
    async with executing(*HERE) as executors:
        job = a_job(body={"http": {"url": f"{receiver.url}/slow", "timeout": 0.05}})
        assert isinstance(await executors.run(job), TimedOut)


async def test_nobody_there_is_a_failure_that_is_tried_again(receiver: Receiver) -> None:
    for url in ("http://127.0.0.1:1/", "http://no-such-host.invalid/"):
        ending = failure(await call(url))
        assert ending.error.type == "unreachable"
        assert ending.retryable


@pytest.mark.parametrize(
    ("sent", "type"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "bad_answer"),
        (b"HTTP/1.1 9 s3cret\r\n\r\n", "bad_answer"),
        (b"HTTP/1.1 200 OK\r\ns3cret s3cret: a\r\n\r\n", "bad_answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"s3cret" * 2000 + b"\r\n\r\n", "bad_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "bad_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ns3cret", "disconnected"),
        (b"", "disconnected"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_a_failure_and_is_not_quoted(
    sent: bytes, type: str
) -> None:
    """It may be cut through a secret that it repeats."""
    async with raw_server(sent) as url:
        ending = failure(await call(url))
    assert (ending.error.type, ending.retryable) == (type, True)
    assert "s3cret" not in repr(ending)


async def test_who_speaks_no_tls_is_told_so(receiver: Receiver) -> None:
    ending = failure(await call(receiver.url.replace("http", "https")))
    assert (ending.error.type, ending.retryable) == ("tls", True)
    assert f"no TLS with 127.0.0.1:{receiver.port}" in ending.error.message


@pytest.mark.parametrize("host", ["a..b.example", f"{'a' * 64}.example"])
async def test_a_host_that_is_no_name_is_never_tried_again(host: str) -> None:
    ending = failure(await call(f"http://{host}/"))
    assert (ending.error.type, ending.retryable) == ("invalid_url", False)


async def test_a_reason_does_nothing_to_a_terminal() -> None:
    async with raw_server(b"HTTP/1.1 500 a\x1b[31mb\r\nContent-Length: 0\r\n\r\n") as url:
        ending = failure(await call(url))
    assert ending.error.message == "answered 500 a[31mb"


@pytest.mark.parametrize("header", ["Content-Length", "transfer-encoding", "Connection", "Host"])
@pytest.mark.parametrize("place", ["headers", "auth"])
async def test_where_a_request_ends_is_not_for_a_job_to_say_that_came_past_the_door(
    receiver: Receiver, place: str, header: str
) -> None:
    """Another version may have stored it."""
    job = a_job(body={"http": {"url": receiver.url}})
    assert job.spec.http is not None
    named = SecretHeader.model_construct(name=header, value=SecretRef(secret="A"))
    asked = {"headers": {header: "1"}, "auth": HttpAuth.model_construct(header=named)}
    http = job.spec.http.model_copy(update={place: asked[place]})
    async with executing(*HERE, secrets={"A": "1"}) as executors:
        spec = job.spec.model_copy(update={"http": http})
        ending = failure(await executors.run(replace(job, spec=spec)))
    assert ending.error.type == "forbidden_header"
    assert not ending.retryable
    assert receiver.requests == []
