"""An AMQP 0-9-1 client of nothing but a socket: what it sends and sees are bytes.

Method frames are written with pamqp; properties and headers of messages pass through untouched, so
that no library's idea of a type stands between a test and the broker.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import pamqp.frame
from pamqp import commands as spec
from pamqp.base import Frame

METHOD, HEADER, BODY = 1, 2, 3
FRAME_BYTES = 131_072 - 8


class Refused(AssertionError):
    """The broker closed the channel instead of taking what it was sent; there is a new one."""


class Wire:
    """A connection with one channel, in confirm mode."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port or 5672), timeout=20)
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        self._socket.sendall(b"AMQP\0\0\x09\x01")
        self._expect(spec.Connection.Start)
        secret = f"\0{user}\0{password}"
        self._send(spec.Connection.StartOk({}, "PLAIN", secret, "en_US"), 0)
        self._expect(spec.Connection.Tune)
        self._send(spec.Connection.TuneOk(2047, 131_072, 0), 0)
        self._send(spec.Connection.Open(unquote(parts.path[1:]) or "/"), 0)
        self._expect(spec.Connection.OpenOk)
        self._open_channel()

    def _open_channel(self) -> None:
        self.call(spec.Channel.Open())
        self.call(spec.Confirm.Select())

    def call(self, method: Frame) -> Any:
        """Send a method and return the broker's answer to it."""
        self._send(method, 1)
        return self._expect(Frame)

    def publish(self, exchange: str, routing_key: str, properties: bytes, body: bytes) -> None:
        """Return when it is confirmed; a return is an error."""
        self._send(spec.Basic.Publish(0, exchange, routing_key, True), 1)
        self._write(HEADER, struct.pack(">HHQ", 60, 0, len(body)) + properties)
        for start in range(0, len(body), FRAME_BYTES):
            self._write(BODY, body[start : start + FRAME_BYTES])
        self._expect(spec.Basic.Ack)

    def get(self, queue: str) -> tuple[bytes, bytes] | None:
        """The properties and the body of the next message, taken; None: there is none."""
        answer = self.call(spec.Basic.Get(0, queue, True))
        if isinstance(answer, spec.Basic.GetEmpty):
            return None
        header = self._read(HEADER)
        (size,) = struct.unpack(">Q", header[4:12])
        body = b""
        while len(body) < size:
            body += self._read(BODY)
        return header[12:], body

    def close(self) -> None:
        """Without a word: the broker minds nothing."""
        self._socket.close()

    def _send(self, method: Frame, channel: int) -> None:
        self._socket.sendall(pamqp.frame.marshal(method, channel))

    def _write(self, kind: int, payload: bytes) -> None:
        self._socket.sendall(struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce")

    def _expect(self, kind: type[Frame]) -> Any:
        _, _, method = pamqp.frame.unmarshal(self._frame(METHOD))
        if isinstance(method, spec.Channel.Close):
            self._send(spec.Channel.CloseOk(), 1)
            self._open_channel()
            raise Refused(f"{method.reply_code} {method.reply_text}")
        if isinstance(method, spec.Connection.Close):
            raise AssertionError(f"the broker closed it: {method.reply_code} {method.reply_text}")
        assert isinstance(method, kind), method
        return method

    def _read(self, kind: int) -> bytes:
        return self._frame(kind)[7:-1]

    def _frame(self, kind: int) -> bytes:
        while True:
            head = self._exactly(7)
            found, _, size = struct.unpack(">BHI", head)
            whole = head + self._exactly(size + 1)
            if found == kind:
                return whole
            assert found == 8, whole  # a heartbeat is the only other thing that may come

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            assert part, "the broker closed the connection"
            data += part
        return data


@contextmanager
def wire(url: str) -> Iterator[Wire]:
    """One that is closed in the end."""
    connection = Wire(url)
    try:
        yield connection
    finally:
        connection.close()
