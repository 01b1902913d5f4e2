"""Connections of http jobs: none is opened to an address that jobs may not reach.

Decided on addresses, twice: all answers of the name are judged when it is resolved, and one that is
forbidden forbids the name (a resolver that answers with one of each is an attack, not a choice);
and the address of each socket is judged in the moment the socket is made. In between nothing is
resolved again: the connection goes to the address that was judged.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from workers.executors.addresses import AllowList, judged
from workers.executors.http_request import HttpRequest

_LOOKUPS = 64
_IDLE = 4.0
"""Seconds that a connection is kept for: shorter than most servers do, or a request would meet one
that is just being closed; and of many targets, not more than there are file descriptors."""
_UNTIMED = aiohttp.ClientTimeout(total=None)
_AddrInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


class ForbiddenTarget(OSError):
    """The address is not one that http jobs may reach."""

    def __init__(self) -> None:
        super().__init__("http jobs may not reach this address (DUEQ_HTTP_ALLOW)")


class GuardedResolver(AbstractResolver):
    """Refuses a name if any of its addresses may not be reached."""

    def __init__(self, allow: AllowList, resolver: AbstractResolver) -> None:
        self._allow = allow
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`, all of them allowed. Raises `ForbiddenTarget`."""
        answers = await self._resolver.resolve(host, port, family)
        if not all(self._allow.allows(judged(answer["host"])) for answer in answers):
            raise ForbiddenTarget
        return answers

    async def close(self) -> None:
        """Close the one that it asks."""
        await self._resolver.close()


class MachineResolver(AbstractResolver):
    """The machine's own. A name that nobody answers for holds a thread for many seconds: there are
    so many of them that a few such names keep no other waiting."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`; raises `OSError`."""
        ask = partial(
            socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        answers = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [
            ResolveResult(
                hostname=host,
                host=_numeric(address),
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for family, _, protocol, _, address in answers
        ]

    async def close(self) -> None:
        """Leave what is being asked to itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _numeric(address: tuple[Any, ...]) -> str:
    """With the zone of a link-local one."""
    is_zoned = len(address) == 4 and address[3]
    return f"{address[0]}%{address[3]}" if is_zoned else str(address[0])


class Connections:
    """Sends requests over connections that are kept; made by `open_connections`.

    Two pools: a connection to a listed host may lead anywhere and must never serve another one.
    """

    def __init__(
        self, allow: AllowList, guarded: aiohttp.ClientSession, trusted: aiohttp.ClientSession
    ) -> None:
        self._allow = allow
        self._guarded = guarded
        self._trusted = trusted

    def send(
        self, request: HttpRequest, connect_timeout: float | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The response, its body unread. A redirect is one."""
        is_listed = self._allow.allows_host(request.url.host or "")
        session = self._trusted if is_listed else self._guarded
        timeout = _UNTIMED
        if connect_timeout is not None:
            timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout)
        return session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
            timeout=timeout,
        )


@asynccontextmanager
async def open_connections(
    allowed: Iterable[str], user_agent: str, resolver: AbstractResolver | None = None
) -> AsyncIterator[Connections]:
    """`allowed` as in `DUEQ_HTTP_ALLOW`; without a `resolver` the machine's own is asked."""
    allow = AllowList.parse(allowed)

    def make_guarded_socket(info: _AddrInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allow.allows(judged(address[0])):
            raise ForbiddenTarget
        return socket.socket(family, kind, protocol)

    names = resolver or MachineResolver()
    guarded = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=_IDLE,
        happy_eyeballs_delay=None,
        resolver=GuardedResolver(allow, names),
        socket_factory=make_guarded_socket,
    )
    trusted = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE, resolver=names)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(names.close)
        first = await stack.enter_async_context(_session(guarded, user_agent))
        second = await stack.enter_async_context(_session(trusted, user_agent))
        yield Connections(allow, first, second)


def _session(connector: aiohttp.TCPConnector, user_agent: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        skip_auto_headers=("Content-Type",),
        timeout=_UNTIMED,
        headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
    )
