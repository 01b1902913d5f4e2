"""Keep-alive connections to one HTTP server, each with one request in flight.

As cheap as Python gets (raw sockets, epoll, no headers parsed that nobody needs), because the load
generator shares its cores with what it measures. Only 202 counts as an answer: anything else, and a
connection that is closed, ends the bench.
"""

import re
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self
from urllib.parse import urlsplit

from infra.exits import CommandFailed, Exit

_TIMEOUT_SECONDS = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNK = 256 * 1024


def post(path: str, body: bytes) -> bytes:
    """The bytes of a request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One of them: `send`, then `receive` until there is a whole answer."""

    def __init__(self, host: str, port: int) -> None:
        try:
            self.socket = socket.create_connection((host, port), _TIMEOUT_SECONDS)
        except OSError as error:
            text = f"the gateway at {host}:{port} does not answer: {error}"
            raise CommandFailed(Exit.UNREACHABLE, text) from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        """Only when the last answer is complete."""
        self._received = b""
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """The body of the answer once all of it is here; call when there is something to read."""
        part = self.socket.recv(_CHUNK)
        if not part:
            raise CommandFailed(Exit.UNREACHABLE, "the gateway closed a connection")
        self._received += part
        return body_of(self._received)


def body_of(received: bytes) -> bytes | None:
    """The body of a 202, None while a part of it is missing."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    length = _LENGTH.search(head)
    if length is None:
        raise CommandFailed(Exit.FAILED, f"an answer without Content-Length: {head[:200]!r}")
    if len(body) < int(length[1]):
        return None
    if not head.startswith(b"HTTP/1.1 202"):
        raise CommandFailed(Exit.FAILED, f"a submit was answered {head[:40]!r}: {body[:500]!r}")
    return body


class Wire:
    """All of them."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections

    def ask(self, request: bytes) -> bytes:
        """One request on an idle system; the body of its answer."""
        connection = self._connections[0]
        connection.send(request)
        while (body := connection.receive()) is None:
            pass
        return body

    def drive(self, requests: Sequence[bytes]) -> list[bytes]:
        """Send all, each as soon as a connection is free; the bodies, in the order of requests."""
        bodies = [b""] * len(requests)
        waiting = iter(enumerate(requests))
        busy: dict[int, tuple[Connection, int]] = {}
        poll = select.epoll()
        try:
            for connection, (number, request) in zip(self._connections, waiting, strict=False):
                poll.register(connection.socket, select.EPOLLIN)
                busy[connection.socket.fileno()] = (connection, number)
                connection.send(request)
            while busy:
                for ready, _ in _polled(poll):
                    connection, number = busy[ready]
                    body = connection.receive()
                    if body is None:
                        continue
                    bodies[number] = body
                    following = next(waiting, None)
                    if following is None:
                        del busy[ready]
                        continue
                    busy[ready] = (connection, following[0])
                    connection.send(following[1])
        finally:
            poll.close()
        return bodies


def _polled(poll: select.epoll) -> list[tuple[int, int]]:
    ready = poll.poll(_TIMEOUT_SECONDS)
    if not ready:
        text = f"the gateway gave no answer for {_TIMEOUT_SECONDS:.0f} s"
        raise CommandFailed(Exit.UNREACHABLE, text)
    return ready


@contextmanager
def connected(url: str, connections: int) -> Iterator[Wire]:
    """So many connections to the server of `url`."""
    parts = urlsplit(url)
    with ExitStack() as opened:
        yield Wire(
            [
                opened.enter_context(Connection(parts.hostname or "", parts.port or 80))
                for _ in range(connections)
            ]
        )
