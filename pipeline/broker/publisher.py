"""The way into RabbitMQ: persistent, mandatory, confirmed (R1).

When `publish` returns, RabbitMQ holds every job durably in the submit queue. When it raises
`Unavailable`, nothing was sent; when it raises `UnknownOutcome`, something was, and the jobs may
arrive. A crash of this process loses only what nobody was told is accepted. A publish is never
repeated from here: a lost confirm does not mean that the broker rejected the message.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import PublishError
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from pipeline.broker.connection import (
    SERVER,
    Backoff,
    broker_errors,
    connect,
    disconnect,
    heed_cancel,
    open_channel,
    takes_publishes,
)
from pipeline.broker.topology import JOBS, declare
from pipeline.domain.envelope import ACCEPTED_KEY, encode_accepted
from pipeline.domain.errors import DueQError, Unavailable, UnknownOutcome
from pipeline.domain.job import Submission
from pipeline.domain.properties import PERSISTENT
from pipeline.ports import Chance, Clock
from pipeline.telemetry import log

_log = log(__name__)


class RabbitIntake:
    """`pipeline.ports.Intake`. `async with` it: inside, it connects and reconnects by itself."""

    def __init__(self, url: str, timeout: float, clock: Clock, chance: Chance) -> None:
        self._url = url
        self._timeout = timeout
        self._clock = clock
        self._backoff = Backoff(clock, chance)
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._doubted = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start to connect; does not wait for it, so that a gateway starts before its broker."""
        await self._group.__aenter__()
        self._keeper = self._group.create_task(self._keep())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        await self._group.__aexit__(kind, error, trace)

    @property
    def connected(self) -> bool:
        """Whether a publish could go out now; False too while the broker has blocked us."""
        return (
            self._channel is not None
            and not self._channel.is_closed
            and self._connection is not None
            and takes_publishes(self._connection)
        )

    async def publish(self, submissions: Sequence[Submission]) -> None:
        """Return when RabbitMQ holds all of them durably."""
        channel = self._channel
        if channel is None or not self.connected:
            raise Unavailable(SERVER, "not connected")
        bodies = list(encode_accepted(submissions))
        if len(bodies) == 1:
            await self._send(channel, bodies[0])
        elif bodies:
            await self._send_all(channel, bodies)

    async def _send_all(self, channel: AbstractChannel, bodies: list[bytes]) -> None:
        """All at once; if only a part was refused, nobody can say "nothing was sent"."""
        sends = (self._send(channel, body) for body in bodies)
        ends = await asyncio.gather(*sends, return_exceptions=True)
        errors = [end for end in ends if end is not None]
        for error in errors:
            if not isinstance(error, DueQError):
                raise error
        if errors and len(errors) == len(bodies) and not _any_unknown(errors):
            raise errors[0]
        if errors:
            raise UnknownOutcome(SERVER, "only a part of the jobs was confirmed")

    async def _send(self, channel: AbstractChannel, body: bytes) -> None:
        properties = Basic.Properties(content_type="application/json", delivery_mode=PERSISTENT)
        try:
            with broker_errors(UnknownOutcome):
                async with asyncio.timeout(self._timeout):
                    await self._publish(channel, body, properties)
        except UnknownOutcome:
            # A connection that keeps us waiting is not to be trusted, unless it says why.
            if self.connected:
                self._doubted.set()
            raise

    async def _publish(
        self, channel: AbstractChannel, body: bytes, properties: Basic.Properties
    ) -> None:
        try:
            await channel.basic_publish(
                body,
                exchange=JOBS,
                routing_key=ACCEPTED_KEY,
                properties=properties,
                mandatory=True,
            )
        except PublishError:
            # Somebody deleted the queue or its binding: connecting again declares both.
            self._doubted.set()
            raise Unavailable(SERVER, "the submit queue is missing; it is made again") from None

    async def _keep(self) -> None:
        """Be connected, for ever: any loss, any doubt, and it starts over."""
        while True:
            try:
                with broker_errors(Unavailable):
                    await self._connect_and_hold()
            except Unavailable as error:
                if self._backoff.failures == 0:
                    _log.warning("broker.lost", error=str(error), next="reconnecting")
            heed_cancel()
            await self._backoff.wait()

    async def _connect_and_hold(self) -> None:
        """Set `_channel` while there is one that works; returns or raises when it is lost."""
        connection = await connect(self._url, "intake")
        try:
            await declare(connection, self._clock)
            channel = await open_channel(connection, confirms=True)
            self._doubted.clear()
            channel.closing.add_done_callback(lambda _: self._doubted.set())
            self._connection, self._channel = connection, channel
            self._backoff.reset()
            _log.info("broker.connected")
            heed_cancel()
            await self._doubted.wait()
            raise ConnectionError("the connection was lost or given up")
        finally:
            self._connection = self._channel = None
            await disconnect(connection)


def _any_unknown(errors: Sequence[BaseException]) -> bool:
    return any(isinstance(error, UnknownOutcome) for error in errors)
