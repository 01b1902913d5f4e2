"""The broker as a target of amqp jobs: a connection of its own, a channel for each exchange.

An exchange that does not exist costs the channel it was named on: with one for each exchange that
hurts only the jobs that made the same mistake. Messages are mandatory and confirmed; what they say
is the caller's. One whose `message_id` is its own shares the channel with others in flight; those
that say what they like (`publish_alone`) go one at a time, on a few channels more.
`Rejected` means that the broker refused the message (`no_such_exchange`, `unroutable`, …),
`Unavailable` that nothing was sent, `UnknownOutcome` that it may have arrived.
"""

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import PublishError
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed, ChannelNotFoundEntity

from pipeline.broker.connection import (
    SERVER,
    broker_errors,
    connect,
    disconnect,
    open_channel,
    takes_publishes,
)
from pipeline.broker.exact import ExactProperties, GivenUp, Line, Returned
from pipeline.domain.errors import Flaw, Rejected, Unavailable, UnknownOutcome

_CHANNELS = 64
_LINES = 8
_NOT_ENCODABLE = (ValueError, TypeError, OverflowError, struct.error)


class RabbitTarget:
    """Connects when first needed, and again when the connection was lost."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._url = url
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._channels: OrderedDict[str, AbstractChannel] = OrderedDict()
        self._lines: dict[tuple[str, int], Line] = {}
        self._next_line = 0
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await disconnect(self._connection)

    async def publish(
        self, *, exchange: str, routing_key: str, body: bytes, properties: bytes, message_id: str
    ) -> None:
        """Return when the broker has confirmed that the message is in at least one queue.

        `properties` are the bytes of all of them; they must hold this `message_id`, and nothing
        else in flight may have it.
        """
        with broker_errors(Unavailable), _refusals():
            channel = await self._channel_for(exchange)
        with broker_errors(UnknownOutcome), _refusals():
            async with asyncio.timeout(self._timeout):
                await channel.basic_publish(
                    body,
                    exchange=exchange,
                    routing_key=routing_key,
                    properties=ExactProperties(properties, message_id),
                    mandatory=True,
                )

    async def publish_alone(
        self, *, exchange: str, routing_key: str, body: bytes, properties: bytes
    ) -> None:
        """The same for properties that may hold anything.

        A message that waited behind one that the broker refused takes another line.
        """
        while True:
            with broker_errors(Unavailable), _refusals():
                line = await self._line_for(exchange)
            with broker_errors(UnknownOutcome), _refusals(), suppress(GivenUp):
                async with asyncio.timeout(self._timeout):
                    await line.publish(body, exchange, routing_key, properties)
                return

    async def _line_for(self, exchange: str) -> Line:
        """The next of a few, so that one slow confirm does not hold up all."""
        number = self._next_line = (self._next_line + 1) % _LINES
        async with self._opening:
            connection = await self._connected()
            line = self._lines.pop((exchange, number), None)
            if line is None or not line.is_usable:
                await _close(line)
                line = Line(await self._open(connection, exchange))
            self._lines[exchange, number] = line
            if len(self._lines) > _CHANNELS:
                await _close(self._lines.pop(next(iter(self._lines))))
            return line

    async def _channel_for(self, exchange: str) -> AbstractChannel:
        async with self._opening:
            connection = await self._connected()
            channel = self._channels.get(exchange)
            if channel is None or channel.is_closed:
                channel = self._channels[exchange] = await self._open(connection, exchange)
            self._channels.move_to_end(exchange)
            await self._close_surplus()
            return channel

    async def _open(self, connection: AbstractConnection, exchange: str) -> AbstractChannel:
        """A channel whose exchange is there.

        Asked first, and not found out by publishing: what is sent after the broker has closed a
        channel ends the whole connection, and with it what everybody has in flight.
        """
        channel = await open_channel(connection, confirms=True)
        if exchange:
            async with asyncio.timeout(self._timeout):
                await channel.exchange_declare(exchange, passive=True)
        return channel

    async def _connected(self) -> AbstractConnection:
        """The connection, made anew if it was lost; not while the broker blocks publishers."""
        connection = self._connection
        if connection is None or connection.is_closed:
            self._channels.clear()
            self._lines.clear()
            connection = self._connection = await connect(self._url, "target")
        if not takes_publishes(connection):
            raise Unavailable(SERVER, "it takes no messages at the moment")
        return connection

    async def _close_surplus(self) -> None:
        """The exchange not used for longest; what it still has in flight ends as unknown."""
        if len(self._channels) > _CHANNELS:
            _, channel = self._channels.popitem(last=False)
            if not channel.is_closed:
                await channel.close()


async def _close(line: Line | None) -> None:
    if line is not None and not line.channel.is_closed:
        await line.channel.close()


@contextmanager
def _refusals() -> Iterator[None]:
    """What the broker says about the message itself."""
    try:
        yield
    except (PublishError, Returned):
        raise _refused("unroutable", "routing_key", "no queue takes it") from None
    except ChannelNotFoundEntity:
        raise _refused("no_such_exchange", "exchange", "does not exist") from None
    except ChannelAccessRefused:
        raise _refused("access_refused", "exchange", "we may not write to it") from None
    except ChannelClosed as error:
        raise _refused("refused", "", f"the broker refused it: {error}") from None
    except _NOT_ENCODABLE as error:
        raise _refused("invalid", "", f"is not a message: {error}") from None


def _refused(code: str, field: str, detail: str) -> Rejected:
    return Rejected(code, Flaw(f"/amqp/{field}" if field else "/amqp", detail))
