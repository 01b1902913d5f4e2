"""Properties and headers of a message as the bytes they are on the wire.

The driver reads a header into Python and writes another one: widths of integers are lost, and what
it cannot read (text that is not UTF-8, a year beyond 9999, a table within a thousand tables) ends
the connection, again and again, for the message comes back each time. Here every content header
keeps its bytes, and one that the driver cannot read is a message without properties, which ingest
then judges like any other. Nothing is changed for who does not ask for the bytes.
"""

import asyncio
import struct
from contextlib import suppress

from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import AMQPError, DeliveryError, PublishError
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from pipeline.domain.fields import Unreadable
from pipeline.domain.properties import read_properties

NONE = b"\0\0"
"""The properties of a message that has none."""


_read = ContentHeader.unmarshal


def _read_and_keep(self: ContentHeader, data: bytes) -> None:
    self.raw = bytes(data[12:])  # type: ignore[attr-defined]
    try:
        _read(self, data)
    except Exception:  # the driver's decoders raise whatever they meet, OverflowError too
        self.class_id, self.weight, self.body_size = struct.unpack(">HHQ", data[:12])
        self.properties = Basic.Properties()


ContentHeader.unmarshal = _read_and_keep  # type: ignore[method-assign]


def properties_of(message: DeliveredMessage) -> tuple[bytes, dict[str, bytes]]:
    """Flags and values as they came, and each property's own; none if they cannot be read."""
    raw: bytes = getattr(message.header, "raw", NONE)
    try:
        return raw, read_properties(raw)
    except Unreadable:
        return NONE, {}


class ExactProperties(Basic.Properties):
    """Properties that are written as these bytes.

    `message_id` is not written: by it the driver finds the publish that a return belongs to.
    """

    def __init__(self, raw: bytes, message_id: str = "the only one") -> None:
        super().__init__(message_id=message_id)
        self._raw = raw

    def marshal(self) -> bytes:
        """The bytes."""
        return self._raw


class Returned(AMQPError):
    """The broker had no queue for it."""


class GivenUp(AMQPError):
    """This line is of no more use; another may be."""


class Line:
    """A channel on which messages are published byte for byte, one at a time.

    The driver tells which publish was returned by its `message_id`; these have their sender's own,
    the same ones again, or none. One at a time, a return can only mean that one, and it comes
    before the confirm. After a publish without an answer nobody knows whose the next return is:
    the line is spoilt.
    """

    def __init__(self, channel: AbstractChannel) -> None:
        self.channel = channel
        self.is_spoilt = False
        self._lock = asyncio.Lock()
        self._returned = False
        self._heed = channel._on_return_frame  # type: ignore[attr-defined]
        channel._on_return_frame = self._on_return  # type: ignore[attr-defined]

    @property
    def is_usable(self) -> bool:
        """Whether the next message may go here."""
        return not self.is_spoilt and not self.channel.is_closed

    async def publish(
        self, body: bytes, exchange: str, routing_key: str, properties: bytes
    ) -> None:
        """Return when it is confirmed.

        Raises `Returned`; `GivenUp` when nothing was sent, since one before it spoilt the line; or
        one of the driver's errors.
        """
        async with self._lock:
            if not self.is_usable:
                raise GivenUp("the channel was given up")
            self._returned = False
            try:
                await self._send(body, exchange, routing_key, ExactProperties(properties))
            except DeliveryError:  # a queue refused it: that was the answer
                raise
            except BaseException:
                self.is_spoilt = True
                raise
            if self._returned:
                raise Returned("no queue takes it")

    async def _send(
        self, body: bytes, exchange: str, routing_key: str, properties: Basic.Properties
    ) -> None:
        with suppress(PublishError):  # whose return the driver could tell after all
            await self.channel.basic_publish(
                body,
                exchange=exchange,
                routing_key=routing_key,
                properties=properties,
                mandatory=True,
            )

    async def _on_return(self, frame: Basic.Return) -> None:
        self._returned = True
        await self._heed(frame)
