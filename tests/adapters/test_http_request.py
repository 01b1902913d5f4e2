"""What an http job sends: bodies, queries, credentials and signatures from named secrets."""

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.builders import a_job
from tests.endings import failure, success
from tests.fakes.clock import ManualClock
from tests.http_world import Receiver, call, executing, receiving, redirect
from workers.secrets import Secrets

KEY = "whsec_" + b64encode(b"a key of twenty-four by").decode()
WORD = "s3cret-of-the-receiver"
OLD_KEY = "whsec_" + b64encode(b"the key that was there before").decode()
SECRETS = {"TOKEN": WORD, "HOOK": KEY, "EVIL": "a\r\nX-Injected: 1", "EMPTY": "\n"}


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def ref(name: str) -> dict[str, str]:
    return {"secret": name}


# -- body and query


@pytest.mark.parametrize(
    ("asked", "sent", "content_type"),
    [
        ({"body": "grüße"}, "grüße".encode(), "text/plain; charset=utf-8"),
        ({"body": {"a": [1, None]}}, b'{"a":[1,null]}', "application/json"),
        ({"body": False}, b"false", "application/json"),
        ({"body_base64": "AP8="}, b"\x00\xff", "application/octet-stream"),
        ({"form": {"a": "ü b", "n": 1, "l": ["x", 2.5]}}, b"a=%C3%BC+b&n=1&l=x&l=2.5",
         "application/x-www-form-urlencoded"),
        ({"form": {}}, b"", "application/x-www-form-urlencoded"),
        ({}, b"", None),
    ],
)  # fmt: skip
async def test_a_body_is_json_text_a_form_or_bytes(
    receiver: Receiver, asked: dict[str, Any], sent: bytes, content_type: str | None
) -> None:
    success(await call(receiver.url, method="POST", **asked))
    assert receiver.body == sent
    assert receiver.last.headers.get("Content-Type") == content_type


async def test_query_parameters_are_added_to_those_of_the_url(receiver: Receiver) -> None:
    query = {"q": "a&b=c#d ü", "n": 7, "l": ["x", "y"]}
    success(await call(f"{receiver.url}/p?first=1#there", query=query))
    assert receiver.last.path_qs.startswith("/p?first=1&")
    assert list(receiver.last.query.items()) == [
        ("first", "1"), ("q", "a&b=c#d ü"), ("n", "7"), ("l", "x"), ("l", "y"),
    ]  # fmt: skip


SIGNED = "/a%2Fb/%7Euser/../%41;v=1?sig=a%2Bb%3D&key=x%2Fy%3Az&t=%7E+%20&l[]=1&odd=%zz?&end="


async def test_a_url_is_sent_byte_for_byte(receiver: Receiver) -> None:
    """Receivers that hand out signed URLs know them by their spelling."""
    success(await call(f"{receiver.url}{SIGNED}#not-this"))
    assert receiver.last.raw_path == SIGNED
    success(await call(f"{receiver.url}{SIGNED}", query={"n": 1}))
    assert receiver.last.raw_path == f"{SIGNED}&n=1"


async def test_where_a_redirect_leads_is_asked_for_byte_for_byte(receiver: Receiver) -> None:
    there = SIGNED.replace("/../", "/")
    receiver.answers = {"/": redirect(f"{receiver.url}{there}")}
    success(await call(receiver.url, redirects=1))
    assert receiver.last.raw_path == there


async def test_what_no_url_may_contain_is_encoded(receiver: Receiver) -> None:
    success(await call(f"{receiver.url}/grüße/{{x}}?a=|ß"))
    assert receiver.last.raw_path == "/gr%C3%BC%C3%9Fe/%7Bx%7D?a=%7C%C3%9F"


# -- credentials


@pytest.mark.parametrize(
    ("asked", "header", "sent"),
    [
        ({"auth": {"bearer": ref("TOKEN")}}, "Authorization", f"Bearer {WORD}"),
        ({"auth": {"basic": {"username": "Ada", "password": ref("TOKEN")}}}, "Authorization",
         "Basic " + b64encode(f"Ada:{WORD}".encode()).decode()),
        ({"auth": {"header": {"name": "X-Key", "value": ref("TOKEN")}}}, "X-Key", WORD),
        ({"headers": {"X-Own": ref("TOKEN"), "X-Plain": "p"}}, "X-Own", WORD),
    ],
)  # fmt: skip
async def test_credentials_are_secrets_that_the_worker_knows(
    receiver: Receiver, asked: dict[str, Any], header: str, sent: str
) -> None:
    success(await call(receiver.url, secrets=SECRETS, **asked))
    assert receiver.last.headers.getall(header) == [sent]


async def test_a_secret_is_a_variable_or_a_file_and_a_new_file_counts_at_once(
    receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "TOKEN").write_text("of the file\n")
    (tmp_path / "BOTH").write_text("of the file")
    secrets = Secrets({"DUEQ_SECRET_BOTH": "of the environment"}, tmp_path)
    asked = {"headers": {"A": ref("TOKEN"), "B": ref("BOTH")}}
    async with executing("127.0.0.1", secrets=secrets) as executors:
        job = a_job(body={"http": {"url": receiver.url, **asked}})
        success(await executors.run(job))
        assert receiver.last.headers["A"] == "of the file"
        assert receiver.last.headers["B"] == "of the environment"
        (tmp_path / "TOKEN").write_text("renewed\n")
        success(await executors.run(job))
    assert receiver.last.headers["A"] == "renewed"


@pytest.mark.parametrize("name", ["UNKNOWN", "EVIL", "EMPTY"])
@pytest.mark.parametrize("use", ["header", "auth", "signature"])
async def test_without_its_secret_a_job_is_not_sent_and_tried_again(
    receiver: Receiver, name: str, use: str
) -> None:
    """Another worker may know it, or an operator adds it meanwhile."""
    uses: dict[str, dict[str, Any]] = {
        "header": {"headers": {"X": ref(name)}},
        "auth": {"auth": {"basic": {"password": ref(name)}}},
        "signature": {"signature": ref(name)},
    }
    ending = failure(await call(receiver.url, secrets=SECRETS, **uses[use]))
    assert (ending.error.type, ending.retryable) == ("missing_secret", True)
    assert name in ending.error.message
    assert "Injected" not in ending.error.message
    assert receiver.requests == []


@pytest.mark.parametrize("size", [0, 65_000, 65_536 - 15, 65_536 - 24])
async def test_a_receiver_that_repeats_the_secret_does_not_get_it_recorded(
    receiver: Receiver, size: int
) -> None:
    """In the body (in JSON and base64 too, and over the end of what is kept) and in headers."""
    odd = 'quote " and ü, long enough'
    basic = b64encode(f":{odd}".encode()).decode()
    text = "".join(("x" * size, odd * 9, json.dumps(odd) * 9, basic * 9, odd * 9))
    headers = {"X-Echo": f"got {WORD}", "Set-Cookie": "id=7", "X-Auth-Token": "t", "X-Fine": "f"}
    receiver.answer = lambda: web.Response(text=text, headers=headers)
    asked: dict[str, Any] = {
        "auth": {"basic": {"password": ref("ODD")}},
        "headers": {"X": ref("TOKEN")},
    }
    ending = success(await call(receiver.url, secrets=SECRETS | {"ODD": odd}, **asked))

    shown = ending.report["headers"]
    assert (shown["X-Echo"], shown["X-Fine"]) == ("got [redacted]", "f")
    assert shown["Set-Cookie"] == shown["X-Auth-Token"] == "[redacted]"
    for trace in (odd[:10], json.dumps(odd)[1:12], basic[:10], WORD):
        assert trace not in repr(ending)
    assert len(ending.report["body"]) <= 64 * 1024
    assert receiver.last.headers["X"] == WORD


async def test_a_longer_secret_that_is_cut_off_is_not_taken_for_a_shorter_one(
    receiver: Receiver,
) -> None:
    """Which would leave the rest of it."""
    long = f"{WORD}-and-more"
    text = "x" * (65_536 - len(long) + 1) + long * 2
    receiver.answer = lambda: web.Response(text=text)
    asked: dict[str, Any] = {"headers": {"X": ref("TOKEN"), "Y": ref("LONG")}}
    ending = success(await call(receiver.url, secrets=SECRETS | {"LONG": long}, **asked))
    assert ending.report["body"].strip("x") == ""


# -- signature


@pytest.mark.parametrize("body", [{"a": "ü"}, "text", None])
async def test_a_signature_is_what_standard_webhooks_verifies(
    receiver: Receiver, body: object
) -> None:
    asked: dict[str, Any] = {"method": "POST", "signature": ref("HOOK"), "body": body}
    success(await call(receiver.url, secrets=SECRETS, **asked))
    headers = dict(receiver.last.headers)
    assert headers["webhook-id"] == "the-job"
    verify(receiver.body, headers, KEY)
    with pytest.raises(WebhookVerificationError):
        verify(receiver.body + b" ", headers, KEY)
    with pytest.raises(WebhookVerificationError):
        verify(receiver.body, headers, "whsec_" + b64encode(b"of somebody else").decode())
    with pytest.raises(WebhookVerificationError):
        verify(receiver.body, headers | {"webhook-id": "another"}, KEY)


def verify(body: bytes, headers: dict[str, str], key: str) -> None:
    """What a receiver does."""
    Webhook(key).verify(body, headers, json_parse=False)


@pytest.mark.parametrize("between", [" ", "\n", "\r\n\r\n"])
async def test_while_keys_are_rotated_each_of_them_signs(receiver: Receiver, between: str) -> None:
    """A receiver that knows the old one alone verifies, and so does one that knows the new one."""
    secrets = {"HOOK": f"{KEY}{between}{OLD_KEY}\n"}
    asked: dict[str, Any] = {"method": "POST", "signature": ref("HOOK"), "body": {"a": 1}}
    success(await call(receiver.url, secrets=secrets, **asked))
    headers = dict(receiver.last.headers)
    for key in (KEY, OLD_KEY):
        verify(receiver.body, headers, key)
    with pytest.raises(WebhookVerificationError):
        verify(receiver.body, headers, "whsec_" + b64encode(b"of somebody else").decode())


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!", f"{KEY} whsec_", " "])
async def test_nothing_is_signed_with_a_key_that_is_none(receiver: Receiver, secret: str) -> None:
    """An empty key is one that everybody knows."""
    ending = failure(await call(receiver.url, secrets={"HOOK": secret}, signature=ref("HOOK")))
    assert ending.error.type == "missing_secret"
    assert receiver.requests == []


async def test_each_attempt_is_signed_anew(receiver: Receiver) -> None:
    """Receivers refuse what was signed minutes ago."""
    clock, stamps = ManualClock(), []
    async with executing("127.0.0.1", secrets=SECRETS, clock=clock) as executors:
        for attempt in (1, 2):
            asked = {"url": receiver.url, "signature": ref("HOOK")}
            success(await executors.run(a_job(body={"http": asked}, attempt=attempt)))
            stamps.append(int(receiver.last.headers["webhook-timestamp"]))
            clock.advance(600)
    assert stamps[1] - stamps[0] == 600


async def test_a_signature_is_of_the_moment_and_nobody_forges_its_headers(
    receiver: Receiver,
) -> None:
    clock = ManualClock()
    forged = {"Webhook-Id": "mine", "webhook-timestamp": "1", "WEBHOOK-SIGNATURE": "v1,x"}
    asked: dict[str, Any] = {"signature": ref("HOOK"), "headers": forged}
    success(await call(receiver.url, secrets=SECRETS, clock=clock, **asked))
    headers = receiver.last.headers
    assert headers.getall("webhook-id") == ["the-job"]
    assert headers.getall("webhook-timestamp") == [str(int(clock.now().timestamp()))]
    (signature,) = headers.getall("webhook-signature")
    assert len(b64decode(signature.removeprefix("v1,"))) == 32
