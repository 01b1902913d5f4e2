"""Redirects of http jobs: followed only where asked, and each hop is a request of its own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from pipeline.domain.execution import Failed, TimedOut
from tests.endings import failure, success
from tests.http_world import Receiver, call, receiving, redirect
from workers.executors.http_request import HttpRequest, Refused

KEY = "whsec_YSBrZXkgb2YgdHdlbnR5LWZvdXI="
SECRETS = {"TOKEN": "s3cret-word", "HOOK": KEY}
CREDENTIALS: dict[str, Any] = {
    "auth": {"bearer": {"secret": "TOKEN"}},
    "signature": {"secret": "HOOK"},
    "headers": {"X-Own": {"secret": "TOKEN"}, "Cookie": "a=1", "X-Plain": "p"},
}
PRIVATE = ("Authorization", "X-Own", "Cookie", "webhook-id", "webhook-signature")


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest_asyncio.fixture
async def other() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_a_redirect_is_followed_as_often_as_is_asked(receiver: Receiver) -> None:
    receiver.answers = {"/a": redirect("/b"), "/b": redirect("c"), "/c": redirect("/d?e#f")}
    success(await call(f"{receiver.url}/a", redirects=3, success=["2xx", "3xx"]))
    assert [r.path_qs for r, _ in receiver.requests] == ["/a", "/b", "/c", "/d?e"]
    receiver.requests.clear()
    ending = failure(await call(f"{receiver.url}/a", redirects=2))
    assert ending.error.type == "redirects"
    assert ending.report["status"] == 302
    assert len(receiver.requests) == 3


async def test_a_loop_ends(receiver: Receiver) -> None:
    receiver.answer = redirect("/")
    assert failure(await call(receiver.url, redirects=20)).error.type == "redirects"
    assert len(receiver.requests) == 21


@pytest.mark.parametrize(
    ("status", "method", "after", "body"),
    [
        (301, "POST", "GET", b""), (302, "POST", "GET", b""), (303, "POST", "GET", b""),
        (303, "PUT", "GET", b""), (303, "HEAD", "HEAD", b"{}"), (301, "PUT", "PUT", b"{}"),
        (302, "GET", "GET", b"{}"), (307, "POST", "POST", b"{}"), (308, "DELETE", "DELETE", b"{}"),
    ],
)  # fmt: skip
async def test_method_and_body_follow_the_rules_of_fetch(
    receiver: Receiver, status: int, method: str, after: str, body: bytes
) -> None:
    """A signature of a body that is gone goes too."""
    receiver.answers = {"/": redirect("/there", status)}
    asked: dict[str, Any] = {"method": method, "body": {}, "redirects": 1, "secrets": SECRETS}
    success(await call(receiver.url, **asked, signature={"secret": "HOOK"}))
    assert receiver.last.method == after
    if method != "HEAD":
        assert receiver.body == body
    is_kept = after == method
    assert ("webhook-signature" in receiver.last.headers) == is_kept
    if not is_kept:
        assert "Content-Type" not in receiver.last.headers


async def test_credentials_stay_with_their_origin_and_do_not_come_back(
    receiver: Receiver, other: Receiver
) -> None:
    receiver.answers = {"/": redirect(f"{other.url}/x", 307), "/back": redirect("/end", 307)}
    other.answer = redirect(f"{receiver.url}/back", 307)
    asked = {"secrets": SECRETS, "redirects": 5, "method": "POST", "body": {}, **CREDENTIALS}
    success(await call(receiver.url, **asked))

    first, back, end = (request.headers for request, _ in receiver.requests)
    (away,) = (request.headers for request, _ in other.requests)
    for name in PRIVATE:
        assert name in first
        assert not [hop for hop in (away, back, end) if name in hop]
    for hop in (first, away, back, end):
        assert (hop["X-Plain"], hop["DueQ-Job-Id"]) == ("p", "the-job")


async def test_on_the_same_origin_credentials_go_along(receiver: Receiver) -> None:
    receiver.answers = {"/": redirect("/there", 307)}
    asked = {"secrets": SECRETS, "redirects": 1, **CREDENTIALS}
    success(await call(receiver.url, **asked))
    for name in PRIVATE:
        assert name in receiver.last.headers


@pytest.mark.parametrize(
    "location",
    ["http://other.example/", "file:///etc/passwd", "gopher://127.0.0.1/", "javascript:1",
     "https://user@other.example/", "https://u:p@other.example/", "http://[::1", "http:///x"],
)  # fmt: skip
def test_a_redirect_to_less_than_https_or_to_no_url_is_refused(location: str) -> None:
    request = HttpRequest("GET", URL("https://a.example/"), {}, None, frozenset())
    with pytest.raises(Refused) as refused:
        request.redirected(302, location)
    assert refused.value.code == "forbidden_redirect"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "//u:p@127.0.0.1/", "http://[::1"])
async def test_a_refused_redirect_ends_the_job_and_tells_the_answer(
    receiver: Receiver, location: str
) -> None:
    receiver.answer = redirect(location)
    ending = failure(await call(receiver.url, redirects=5))
    assert (ending.error.type, ending.retryable) == ("forbidden_redirect", False)
    assert ending.report["status"] == 302
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("location", "code", "told"),
    [
        ("http://10.0.0.1/a?token=hidden", "forbidden_target", "http://10.0.0.1"),
        ("http://127.0.0.1:1/", "unreachable", "http://127.0.0.1:1"),
        ("http://a..b/", "invalid_url", "http://a..b"),
        ("/gone", "http_status", "{url}"),
        ("/", "redirects", "{url}"),
        ("/slow", "timeout", "{url}"),
    ],
)
async def test_a_failure_after_a_redirect_tells_whose_it_is(
    receiver: Receiver, location: str, code: str, told: str
) -> None:
    """Of the job's own target the URL is known; where it led stands nowhere else."""
    receiver.answers = {"/": redirect(location), "/gone": lambda: web.Response(status=410)}
    ending = await call(receiver.url, redirects=1, timeout=2)
    assert isinstance(ending, Failed | TimedOut)
    assert ending.error.type == code
    assert ending.error.message.endswith(f"; redirected to {told.format(url=receiver.url)}")
    assert "hidden" not in ending.error.message


async def test_a_host_that_is_no_name_is_said_to_be_none(receiver: Receiver) -> None:
    ending = failure(await call("http://a..b/"))
    assert (ending.error.type, ending.retryable) == ("invalid_url", False)
    assert ending.error.message == "no host has such a name: http://a..b"
