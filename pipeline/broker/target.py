"""A broker as a target of amqp jobs: a connection of its own, a channel for each exchange.

An exchange that does not exist costs the channel it was named on: with one for each exchange that
hurts only the jobs that made the same mistake. Messages are mandatory and confirmed; what they say
is the caller's. One whose `message_id` is its own shares the channel with others in flight; those
that say what they like (`publish_alone`) go one at a time, on a few channels more.
`Rejected` means that the broker refused the message (`no_such_exchange`, `unroutable`, …),
`Unavailable` that nothing was sent, `UnknownOutcome` that it may have arrived. None of them says
where the broker is or who we are there: its URL may be a secret.
"""

import asyncio
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import PublishError
from aiormq.abc import AbstractChannel
from aiormq.exceptions import (
    AuthenticationError,
    ChannelAccessRefused,
    ChannelClosed,
    ChannelNotFoundEntity,
    ConnectionNotAllowed,
    DeliveryError,
    InvalidFrameError,
    ProbableAuthenticationError,
)

from pipeline.broker.connection import (
    BROKER_ERRORS,
    CALL_SECONDS,
    SERVER,
    broker_errors,
    connect,
    disconnect,
    is_open,
    largest_frame,
    open_channel,
    say_without_address,
    takes_publishes,
)
from pipeline.broker.exact import ExactProperties, GivenUp, Line, Returned
from pipeline.broker.kept import Kept, Shared
from pipeline.broker.proven import ProvenChannel
from pipeline.domain.errors import Flaw, Rejected, Unavailable, UnknownOutcome

_CHANNELS = 64
_LINES = 8
_FRAMING = 64
"""More than what a frame has around the properties."""
_FULL = "a queue refused it: it is full (x-overflow: reject-publish), or could not store it"
_REFUSED_LOGINS = (AuthenticationError, ProbableAuthenticationError, ConnectionNotAllowed)
_UNREADABLE = (ValueError, TypeError, LookupError)
_NOT_ENCODABLE = (ValueError, TypeError, OverflowError, struct.error)
_LineKey = tuple[str, int]


class RabbitTarget:
    """Connects when first needed, and again when the connection was lost."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._url = url
        self._timeout = timeout
        self._connection = Shared(self._connect, disconnect, is_open)
        self._channels = Kept(self._open_channel, _end, _takes_more, _CHANNELS)
        self._lines = Kept(self._open_line, _end, _line_takes_more, _CHANNELS)
        self._next_line = 0
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection, and its channels with it. For good: a channel that still opens for
        somebody who was cancelled would else open another connection, and nobody would close it."""
        self._is_closed = True
        await self._connection.close()

    async def publish(
        self, *, exchange: str, routing_key: str, body: bytes, properties: bytes, message_id: str
    ) -> None:
        """Return when the broker has confirmed that the message is in at least one queue.

        `properties` are the bytes of all of them; they must hold this `message_id`, and nothing
        else in flight may have it.
        """
        exact = ExactProperties(properties, message_id)
        while True:
            await self._require_taking(properties)
            async with self._channels.use(exchange) as channel:
                with _errors(UnknownOutcome), _refusals(), suppress(GivenUp):
                    async with asyncio.timeout(self._timeout):
                        await channel.publish(body, exchange, routing_key, exact)
                    return

    async def publish_alone(
        self, *, exchange: str, routing_key: str, body: bytes, properties: bytes
    ) -> None:
        """The same for properties that may hold anything.

        A message that waited behind one that the broker refused takes another line.
        """
        while True:
            await self._require_taking(properties)
            # The next of a few, so that one slow confirm does not hold up all.
            number = self._next_line = (self._next_line + 1) % _LINES
            async with self._lines.use((exchange, number)) as line:
                with _errors(UnknownOutcome), _refusals(), suppress(GivenUp):
                    async with asyncio.timeout(self._timeout):
                        await line.publish(body, exchange, routing_key, properties)
                    return

    async def _require_taking(self, properties: bytes) -> None:
        """Connected, not while the broker blocks publishers, and nothing that ends the connection:
        properties and headers go in one frame, however large."""
        connection = await self._connection.get()
        if not takes_publishes(connection):
            raise Unavailable(SERVER, "it takes no messages at the moment")
        if len(properties) > largest_frame(connection) - _FRAMING:
            raise _refused("invalid", "headers", "with the properties more than the broker takes")

    async def _connect(self) -> AbstractConnection:
        if self._is_closed:
            raise Unavailable(SERVER, "its connection was closed")
        with _errors(Unavailable), _refused_logins():
            return await connect(self._url, "target")

    async def _open(self, exchange: str) -> AbstractChannel:
        """A channel whose exchange is there.

        Asked first, and not found out by publishing: what is sent after the broker has closed a
        channel ends the whole connection, and with it what everybody has in flight.
        """
        connection = await self._connection.get()
        with _errors(Unavailable), _refusals():
            channel = await open_channel(connection, confirms=True)
            if exchange:
                async with asyncio.timeout(self._timeout):
                    await channel.exchange_declare(exchange, passive=True)
            return channel

    async def _open_channel(self, exchange: str) -> ProvenChannel:
        return ProvenChannel(await self._open(exchange))

    async def _open_line(self, key: _LineKey) -> Line:
        exchange, _ = key
        return Line(await self._open(exchange))


def _is_usable(channel: AbstractChannel) -> bool:
    return not channel.is_closed and not channel.connection.is_closed


async def _close(channel: AbstractChannel) -> None:
    """Or leave it to the end of its connection, should the broker not answer."""
    if _is_usable(channel):
        with suppress(Unavailable), broker_errors(Unavailable):
            async with asyncio.timeout(CALL_SECONDS):
                await channel.close()


def _takes_more(channel: ProvenChannel) -> bool:
    return _is_usable(channel.channel)


def _line_takes_more(line: Line) -> bool:
    return not line.is_spoilt and _is_usable(line.channel)


async def _end(one: ProvenChannel | Line) -> None:
    await _close(one.channel)


@contextmanager
def _errors(kind: type[Unavailable]) -> Iterator[None]:
    with broker_errors(kind, say_without_address):
        yield


@contextmanager
def _refused_logins() -> Iterator[None]:
    """What the broker says about us, and what cannot be asked of any broker."""
    try:
        yield
    except BROKER_ERRORS as error:
        if not _is_refused_login(error):
            raise
        detail = "the broker does not let us in: user, password or virtual host"
        raise Rejected("access_refused", Flaw("/amqp/url", detail)) from None
    except _UNREADABLE:
        raise Unavailable(SERVER, "its URL cannot be used") from None


def _is_refused_login(error: BaseException) -> bool:
    """A refused virtual host comes as a close where the driver waits for another frame: it reports
    the frame as a bad one, by its name."""
    if isinstance(error, InvalidFrameError):
        return "Connection.Close" in str(error)
    return isinstance(error, _REFUSED_LOGINS)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the broker says about the message itself."""
    try:
        yield
    except (PublishError, Returned):
        raise _refused("unroutable", "routing_key", "no queue takes it") from None
    except DeliveryError:
        raise _refused("refused", "routing_key", _FULL) from None
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
