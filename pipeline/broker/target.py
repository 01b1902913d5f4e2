"""The broker as a target of amqp jobs: a connection of its own, a channel for each exchange.

An exchange that does not exist costs the channel it was named on: with one for each exchange that
hurts only the jobs that made the same mistake. Messages are persistent, mandatory and confirmed.
`Rejected` means that the broker refused the message (`no_such_exchange`, `unroutable`, …),
`Unavailable` that nothing was sent, `UnknownOutcome` that it may have arrived.
"""

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import PublishError
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed, ChannelNotFoundEntity
from pamqp.commands import Basic

from pipeline.broker.connection import (
    SERVER,
    broker_errors,
    connect,
    disconnect,
    open_channel,
    takes_publishes,
)
from pipeline.domain.errors import Flaw, Rejected, Unavailable, UnknownOutcome

_CHANNELS = 64
_PERSISTENT = 2
_NOT_ENCODABLE = (ValueError, TypeError, OverflowError, struct.error)


class RabbitTarget:
    """Connects when first needed, and again when the connection was lost."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._url = url
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._channels: OrderedDict[str, AbstractChannel] = OrderedDict()
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await disconnect(self._connection)

    async def publish(
        self,
        *,
        exchange: str,
        routing_key: str,
        body: bytes,
        content_type: str,
        headers: Mapping[str, str | int | float | bool],
        message_id: str,
    ) -> None:
        """Return when the broker has confirmed that the message is in at least one queue."""
        properties = Basic.Properties(
            content_type=content_type,
            delivery_mode=_PERSISTENT,
            headers=dict(headers),
            message_id=message_id,
        )
        with broker_errors(Unavailable), _refusals():
            channel = await self._channel_for(exchange)
        with broker_errors(UnknownOutcome), _refusals():
            async with asyncio.timeout(self._timeout):
                await channel.basic_publish(
                    body,
                    exchange=exchange,
                    routing_key=routing_key,
                    properties=properties,
                    mandatory=True,
                )

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


@contextmanager
def _refusals() -> Iterator[None]:
    """What the broker says about the message itself."""
    try:
        yield
    except PublishError:
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
