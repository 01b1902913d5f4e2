"""HTTP jobs: one request, no redirects, no cookies, no proxy from the environment.

Where it may go is decided on the address that is connected to, in the moment the socket is made
(`addresses`): there is nothing between the check and the connection that a DNS answer could change.
"""

import asyncio
import base64
import re
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from pydantic_core import to_json

from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import HttpWork, Job
from workers.executors.addresses import AllowList, judged
from workers.executors.executor import OUTPUT_BYTES, failed, storable, timed_out
from workers.executors.fence import fence_headers

_RETRYABLE_4XX = frozenset({408, 425, 429})
_LONGEST_RETRY_AFTER = 86_400
_FRAMING = frozenset(
    {"connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer",
     "keep-alive", "proxy-authorization", "proxy-connection"}
)  # fmt: skip
"""Headers that say where a message ends: set by the client library alone."""

_AddrInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


class ForbiddenTarget(OSError):
    """The address is not one that http jobs may reach."""


class HttpExecutor:
    """Sends requests; made by `open_http`."""

    def __init__(
        self, allow: AllowList, guarded: aiohttp.ClientSession, trusted: aiohttp.ClientSession
    ) -> None:
        self._allow = allow
        self._guarded = guarded
        self._trusted = trusted

    async def run(self, job: Job, work: HttpWork) -> Ending:
        """One request; a status outside `success` is a failure."""
        if framing := _FRAMING & {name.lower() for name in work.headers}:
            return failed(
                "forbidden_header",
                f"not yours to set: {', '.join(sorted(framing))}",
                retryable=False,
            )
        try:
            async with asyncio.timeout(work.timeout):
                return await self._request(job, work)
        except TimeoutError:
            return timed_out(work.timeout)
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, ForbiddenTarget):
                return failed("forbidden_target", str(error.os_error), retryable=False)
            return failed("unreachable", str(error))
        except aiohttp.InvalidURL as error:
            return failed("invalid_url", str(error), retryable=False)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return failed(type(error).__name__, str(error))

    async def _request(self, job: Job, work: HttpWork) -> Ending:
        data, content_type = _body_of(work)
        async with self._session_for(work).request(
            work.method,
            work.url,
            headers=_headers_of(job, work, content_type),
            data=data,
            allow_redirects=False,
        ) as response:
            body = await _read(response)
            if body.is_truncated:
                response.close()  # the rest is not wanted: do not read it for the pool's sake
        return _ending_of(work, response, body)

    def _session_for(self, work: HttpWork) -> aiohttp.ClientSession:
        host = urlsplit(work.url).hostname or ""
        return self._trusted if self._allow.allows_host(host) else self._guarded


@asynccontextmanager
async def open_http(allowed: Iterable[str], user_agent: str) -> AsyncIterator[HttpExecutor]:
    """An executor with connections of its own; `allowed` as in `DUEQ_HTTP_ALLOW`.

    Two pools: a connection to a listed host may lead anywhere and must never serve another one.
    """
    allow = AllowList.parse(allowed)

    def make_guarded_socket(info: _AddrInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allow.allows(judged(address[0])):
            raise ForbiddenTarget("http jobs may not reach this address (DUEQ_HTTP_ALLOW)")
        return socket.socket(family, kind, protocol)

    guarded = aiohttp.TCPConnector(
        limit=0, happy_eyeballs_delay=None, socket_factory=make_guarded_socket
    )
    async with (
        _session(guarded, user_agent) as first,
        _session(aiohttp.TCPConnector(limit=0), user_agent) as second,
    ):
        yield HttpExecutor(allow, first, second)


def _session(connector: aiohttp.TCPConnector, user_agent: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
    )


def _headers_of(job: Job, work: HttpWork, content_type: str | None) -> dict[str, str]:
    """The user's headers, and ours over them: what fences an attempt cannot be forged."""
    ours = fence_headers(job)
    ours_lower = {name.lower() for name in ours}
    headers = {name: text for name, text in work.headers.items() if name.lower() not in ours_lower}
    if content_type and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = content_type
    return headers | ours


def _body_of(work: HttpWork) -> tuple[bytes | None, str | None]:
    if work.body is None:
        return None, None
    if isinstance(work.body, str):
        return work.body.encode(), "text/plain; charset=utf-8"
    return to_json(work.body), "application/json"


@dataclass(frozen=True, slots=True)
class _Body:
    """The first 64 KiB, and whether there was more."""

    start: bytes
    is_truncated: bool

    def shown(self) -> str | dict[str, str]:
        """As text if it is UTF-8, else in base64."""
        try:
            return self.start.decode()
        except UnicodeDecodeError as error:
            if self.is_truncated and error.start > len(self.start) - 4:
                return self.start[: error.start].decode()  # the cut went through a character
            return {"base64": base64.b64encode(self.start).decode()}


async def _read(response: aiohttp.ClientResponse) -> _Body:
    body = bytearray()
    while len(body) <= OUTPUT_BYTES:
        chunk = await response.content.read(OUTPUT_BYTES + 1 - len(body))
        if not chunk:
            return _Body(bytes(body), is_truncated=False)
        body += chunk
    return _Body(bytes(body[:OUTPUT_BYTES]), is_truncated=True)


def _ending_of(work: HttpWork, response: aiohttp.ClientResponse, body: _Body) -> Ending:
    status = response.status
    report = {
        "status": status,
        "headers": _headers_in(response),
        "body": body.shown(),
        "truncated": body.is_truncated,
    }
    if any(wanted in (str(status), f"{status // 100}xx") for wanted in work.success):
        return Succeeded({"status": status}, report)
    return failed(
        "http_status",
        f"answered {status} {response.reason or ''}".rstrip(),
        retryable=status // 100 != 4 or status in _RETRYABLE_4XX,
        retry_after=_retry_after(response.headers.get("Retry-After", "")),
        report=report,
    )


def _headers_in(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Repeated ones joined as RFC 9110 allows; capped like the body."""
    headers: dict[str, str] = {}
    room = OUTPUT_BYTES
    for name, text in response.headers.items():
        room -= len(name) + len(text)
        if room < 0:
            break
        clean, key = storable(text), storable(name)
        headers[key] = f"{headers[key]}, {clean}" if key in headers else clean
    return headers


def _retry_after(text: str) -> timedelta | None:
    """`Retry-After` in seconds; its date form is not honoured."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return None
    return timedelta(seconds=min(int(text), _LONGEST_RETRY_AFTER))
