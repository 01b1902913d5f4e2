"""Connections of http jobs: none is opened to an address that jobs may not reach.

Decided on addresses, twice: all answers of the name are judged when it is resolved, and one that is
forbidden forbids the name (a resolver that answers with one of each is an attack, not a choice);
and the address of each socket is judged in the moment the socket is made. In between nothing is
resolved again: the connection goes to the address that was judged.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from workers.executors.addresses import Address, AllowList, judged
from workers.executors.http_pool import Pool
from workers.executors.http_request import HttpRequest

_LOOKUPS = 64
_UNTIMED = aiohttp.ClientTimeout(total=None)
_AddrInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
_Judge = Callable[[Address], bool]
"""Whether a connection to this address may be opened."""


class ForbiddenTarget(OSError):
    """The address is not one that http jobs may reach."""

    def __init__(self) -> None:
        super().__init__("not on the public internet, and not in the worker's DUEQ_HTTP_ALLOW")


class GuardedResolver(AbstractResolver):
    """Refuses a name if any of its addresses may not be reached."""

    def __init__(self, allows: _Judge, resolver: AbstractResolver) -> None:
        self._allows = allows
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`, all of them allowed. Raises `ForbiddenTarget`."""
        answers = await self._resolver.resolve(host, port, family)
        if not all(self._allows(judged(answer["host"])) for answer in answers):
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

    Two pools: a connection to a listed host may lead to what is closed to others, and must never
    serve another one.
    """

    def __init__(
        self, allow: AllowList, guarded: aiohttp.ClientSession, listed: aiohttp.ClientSession
    ) -> None:
        self._allow = allow
        self._guarded = guarded
        self._listed = listed

    def send(
        self, request: HttpRequest, connect_timeout: float | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The response, its body unread. A redirect is one."""
        is_listed = self._allow.allows_host(request.url.raw_host or "")
        session = self._listed if is_listed else self._guarded
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
    names = resolver or MachineResolver()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(names.close)
        pools = (_pool(judge, names) for judge in (allow.allows, allow.allows_named))
        guarded, listed = [
            await stack.enter_async_context(_session(pool, user_agent)) for pool in pools
        ]
        yield Connections(allow, guarded, listed)


def _pool(allows: _Judge, names: AbstractResolver) -> Pool:
    """Connections to what `allows` lets pass."""

    def make_socket(info: _AddrInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allows(judged(address[0])):
            raise ForbiddenTarget
        return socket.socket(family, kind, protocol)

    return Pool(make_socket, GuardedResolver(allows, names))


def _session(connector: aiohttp.TCPConnector, user_agent: str) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        skip_auto_headers=("Content-Type",),
        timeout=_UNTIMED,
        headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
    )
    # It would send a GET, PUT or DELETE again when the server hangs up: an attempt is one request.
    session._retry_connection = False
    return session
