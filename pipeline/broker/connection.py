"""A connection to RabbitMQ, and what its loss looks like from inside.

Everything here is bounded in time: `timeout=` of aio-pika does not cover the wait for a connection,
and a frame for a connection whose writer is gone waits for ever in a full queue. After a crash of
the broker the heartbeat notices within half a minute; a clean loss is noticed at once.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ProtocolSyntaxError
from aiormq.abc import AbstractChannel
from aiormq.abc import AbstractConnection as Wire
from pamqp.commands import Basic

from pipeline.cancelling import is_being_cancelled
from pipeline.domain.errors import Unavailable
from pipeline.domain.pauses import growing
from pipeline.ports import Chance, Clock

SERVER = "RabbitMQ"
HEARTBEAT_SECONDS = 10
CALL_SECONDS = 5.0
GOODBYE_SECONDS = 1.0
BROKER_ERRORS = (*CONNECTION_EXCEPTIONS, TimeoutError, EOFError)
_SAYINGS: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "no answer in time"),
    (socket.gaierror, "its host is not known"),
    (ssl.SSLError, "no TLS with it that can be trusted"),
    (ConnectionRefusedError, "nobody listens there"),
    (ProtocolSyntaxError, "what answers does not speak AMQP 0-9-1"),
    (ConnectionError, "the connection was lost"),
)

# The drivers report each loss several times over, as errors; this package says once what happens.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class _Connection(aio_pika.Connection):
    """One that nobody closes by accident.

    The library's own starts a coroutine from the garbage collector for every connection that failed
    to open or was lost, and Python warns of it wherever it then happens to be. Who opens one here
    also disconnects it. Over TLS its peer would be given half a minute to say goodbye, and
    a broker that hangs would use it up.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.url.scheme == "amqps":
            self.kwargs["ssl_shutdown_timeout"] = GOODBYE_SECONDS

    def __del__(self) -> None:
        """Nothing: there is no loop to speak to the broker in."""


async def connect(url: str, name: str) -> AbstractConnection:
    """A new connection, shown to operators as `name`; raises one of `BROKER_ERRORS`."""
    async with asyncio.timeout(CALL_SECONDS):
        return await aio_pika.connect(
            url,
            connection_class=_Connection,
            heartbeat=HEARTBEAT_SECONDS,
            client_properties={"connection_name": f"dueq {name}"},
        )


async def disconnect(connection: AbstractConnection) -> None:
    """Close it, or give it up when it does not answer; never raises for the broker."""
    with suppress(Unavailable), broker_errors(Unavailable):
        async with asyncio.timeout(CALL_SECONDS):
            await connection.close()


def wire_of(connection: AbstractConnection) -> Wire:
    """The driver's own connection; raises one of `BROKER_ERRORS` when it is gone."""
    if connection.transport is None:
        raise ConnectionError("the connection is closed")
    return connection.transport.connection


def is_open(connection: AbstractConnection) -> bool:
    """Whether it can be used; its own `is_closed` tells only whether we have closed it."""
    return connection.transport is not None and not connection.transport.connection.is_closed


def largest_frame(connection: AbstractConnection) -> int:
    """Bytes that broker and driver agreed upon."""
    return int(wire_of(connection).connection_tune.frame_max or 131_072)


async def open_channel(
    connection: AbstractConnection, *, confirms: bool, frame_buffer: int = 10
) -> AbstractChannel:
    """A channel without aio-pika's message objects: they double the cost of a small message.

    A publish that cannot be routed raises (`on_return_raises`), where confirms are on.
    """
    async with asyncio.timeout(CALL_SECONDS):
        channel = await wire_of(connection).channel(
            publisher_confirms=confirms,
            frame_buffer_size=frame_buffer,
            on_return_raises=confirms,
        )
    _bear_late_returns(channel)
    return channel


def _bear_late_returns(channel: AbstractChannel) -> None:
    """Let a message come back in the very moment in which its sender gives up.

    The driver then answers a future that is cancelled already. The reader of the channel dies of
    that, and all that comes on the connection piles up behind it: nobody is answered any more.
    """
    heed: Callable[[Basic.Return], Awaitable[None]] = channel._on_return_frame  # type: ignore[attr-defined]

    async def on_return(frame: Basic.Return) -> None:
        with suppress(asyncio.InvalidStateError):
            await heed(frame)

    channel._on_return_frame = on_return  # type: ignore[attr-defined]


def takes_publishes(connection: AbstractConnection) -> bool:
    """False while the broker has blocked the connection (memory or disk alarm).

    `ready()` waits for just that; one step of it tells without waiting.
    """
    if connection.transport is None:
        return False
    step = connection.transport.connection.ready()
    try:
        step.send(None)
    except StopIteration:
        return True
    finally:
        step.close()
    return False


def describe(error: BaseException) -> str:
    """One line, without the URL's password: driver errors quote only host and port."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def say_without_address(error: BaseException) -> str:
    """One line in words of our own: the broker's URL may be a secret, host and user too."""
    causes = (error, error.__cause__)
    for kind, words in _SAYINGS:
        if any(isinstance(each, kind) for each in causes):
            return words
    return f"the connection failed ({type(error).__name__})"


@contextmanager
def broker_errors(
    kind: type[Unavailable], say: Callable[[BaseException], str] = describe
) -> Iterator[None]:
    """Turn whatever the driver raises into `kind`; `say` is what becomes of its text.

    The driver ends the pending calls of a connection that missed its heartbeats with
    `CancelledError`, though nobody cancelled us: only a cancel that somebody asked for is one.
    """
    try:
        yield
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
        raise kind(SERVER, "the connection was given up") from None
    except BROKER_ERRORS as error:
        raise kind(SERVER, say(error)) from error


def heed_cancel() -> None:
    """Raise the cancel that somebody asked for and the driver kept for itself.

    It does so now and then while it connects; a loop that reconnects for ever would never end.
    """
    if is_being_cancelled():
        raise asyncio.CancelledError


class Backoff:
    """Waits between attempts to connect: from 0.2 s, doubling to 2 s, wholly by lot.

    Full jitter, so that a crowd that lost the broker together does not come back together.
    """

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._clock = clock
        self._chance = chance
        self.failures = 0

    async def wait(self) -> None:
        """Sleep after one more failure."""
        self.failures += 1
        longest = growing(self.failures, first=0.2, longest=2.0)
        await self._clock.sleep(longest * self._chance.lot())

    def reset(self) -> None:
        """It worked."""
        self.failures = 0
