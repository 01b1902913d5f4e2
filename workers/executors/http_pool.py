"""Connections that are kept for the next request, as far as there is room and all is quiet on them.

Bytes that come while nobody waits for an answer are the answer to no request: the next one would
take them for its own. A server may also just have hung up without a word, and a request that is
written then is lost. So a connection on which anything has come is closed, never used again.
"""

import asyncio
import resource
import select
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace

_IDLE = 4.0
"""Seconds that a connection is kept for: shorter than most servers do, or a request would meet one
that is just being closed."""
_MOST_IDLE = 1000
_BLANK_LINE = b"\r\n\r\n"
_NEXT = b"HTTP/1.1 204 next\r\n\r\n"
_MOST_HEADS = 8
"""In one piece: those of interim answers and of the answer. A body of blank lines is not cut up."""


class BadBody(aiohttp.ClientPayloadError):
    """The head was HTTP, what came of the body was not."""


class Pool(aiohttp.TCPConnector):
    """Of connections that are idle it keeps not more than there is room for.

    The library bounds those in use alone. Idle ones, a few seconds for each of many targets, would
    take all the files that this process may open.
    """

    def __init__(self, make_socket: aiohttp.SocketFactoryType, names: AbstractResolver) -> None:
        super().__init__(
            limit=0, keepalive_timeout=_IDLE, resolver=names, socket_factory=make_socket
        )
        self._factory = partial(_wire, asyncio.get_running_loop())
        self._most_idle = _most_idle()

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            wire = connection.protocol
            assert isinstance(wire, _Wire)
            if wire.is_quiet():
                wire.is_idle = False
                return connection
            connection.close()
        return None

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        is_full = sum(map(len, self._conns.values())) >= self._most_idle
        super()._release(key, protocol, should_close=should_close or is_full)
        if isinstance(protocol, _Wire):
            protocol.is_idle = True


class _Wire(ResponseHandler):
    """A connection; `is_idle` while it is kept and nobody uses it."""

    is_idle = False
    _last = b""
    """Of what came: the blank line behind a head may come in two pieces."""

    def data_received(self, data: bytes) -> None:
        """The library calls this itself, with nothing, when it goes on reading."""
        if self.is_idle and data:  # whoever goes on talking would fill the memory, too
            self.abort()
            return
        for piece in self._pieces(data):
            if self.exception() is None:
                super().data_received(piece)
        self._tell_reader()

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Each head by itself: the library drops an answer if what comes in one piece with its end
        is no HTTP, such as the body of a 204. So it is kept; the connection is closed all the same.
        """
        for _ in range(_MOST_HEADS):
            at = (self._last + data).find(_BLANK_LINE)
            if at < 0:
                break
            end = at + len(_BLANK_LINE) - len(self._last)
            yield data[:end]
            self._last, data = b"", data[end:]
        self._last = (self._last + data)[1 - len(_BLANK_LINE) :]
        yield data

    def _tell_reader(self) -> None:
        """The library tells who waits for the head; who reads the body would wait for ever."""
        error, body = self.exception(), self._payload
        if isinstance(error, HttpProcessingError) and body is not None and not body.is_eof():
            body.set_exception(BadBody(error.message))

    def is_quiet(self) -> bool:
        """Whether nothing has come, nor its end: what the loop has not read yet counts as well."""
        if self.should_close or self.transport is None or self._has_begun_another():
            return False
        news = select.poll()
        news.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not news.poll(0)

    def _has_begun_another(self) -> bool:
        """Whether the start of one more answer came with the end of the last.

        Only the parser knows. The next request gets a new one; this tells by what it makes of one.
        """
        if self._parser is not None:
            with suppress(HttpProcessingError):
                answers, _, _ = self._parser.feed_data(_NEXT)
                return [answer.reason for answer, _ in answers] != ["next"]
        return True


def _wire(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return _Wire(loop)


def _most_idle() -> int:
    """A quarter of the files that this process may open: there are two pools."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_IDLE if limit == resource.RLIM_INFINITY else min(limit // 4, _MOST_IDLE)
