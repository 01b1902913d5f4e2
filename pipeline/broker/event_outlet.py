"""The way out for lifecycle events: persistent, confirmed, in order for each job.

Messages are sent in order, many unconfirmed at a time, but never two of one job: the second waits
until the first is confirmed, so that a refusal in between cannot turn them round. A failure leaves
everything to be sent again; what arrived before arrives twice.

An event that no queue is bound for is dropped by RabbitMQ, and said to be. Of those in the same
call with the same routing key the others are not sent then: they happened before the broker was
asked, so a queue that is bound later could not have had them either. That makes events cheap where
nobody listens.
"""

import asyncio
from collections.abc import Iterator, Sequence

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import PublishError
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from pipeline.broker.connection import (
    SERVER,
    broker_errors,
    connect,
    disconnect,
    open_channel,
    takes_publishes,
)
from pipeline.broker.topology import EVENTS, declare
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.lifecycle import CONTENT_TYPE, JobEvent
from pipeline.domain.properties import PERSISTENT
from pipeline.ports import Clock

PUBLISH_SECONDS = 10.0
_IN_FLIGHT = 200


class RabbitEventOutlet:
    """The port `EventOutlet`. Connects when first needed, and again after a loss; `close` it."""

    def __init__(self, url: str, clock: Clock, timeout: float = PUBLISH_SECONDS) -> None:
        self._url = url
        self._clock = clock
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await disconnect(connection)

    async def publish(self, events: Sequence[JobEvent]) -> int:
        """All of them, in order; how many have a listener. After a failure it connects anew."""
        if not events:
            return 0
        try:
            with broker_errors(Unavailable):
                channel = await self._open()
            with broker_errors(UnknownOutcome):
                async with asyncio.timeout(self._timeout):
                    return await _publish(channel, events)
        except Unavailable:
            await self.close()
            raise

    async def _open(self) -> AbstractChannel:
        if self._connection is None or self._channel is None or self._channel.is_closed:
            await self.close()
            self._connection = await connect(self._url, "events")
            await declare(self._connection, self._clock)
            self._channel = await open_channel(self._connection, confirms=True)
        if not takes_publishes(self._connection):
            raise Unavailable(SERVER, "it takes no messages at the moment")
        return self._channel


async def _publish(channel: AbstractChannel, events: Sequence[JobEvent]) -> int:
    heard: dict[str, bool] = {}
    count = 0
    for flight in flights(events, heard):
        ends = await asyncio.gather(*(_send(channel, event) for event in flight))
        heard |= {event.routing_key: end for event, end in zip(flight, ends, strict=True)}
        count += sum(ends)
    return count


def flights(events: Sequence[JobEvent], heard: dict[str, bool]) -> Iterator[Sequence[JobEvent]]:
    """What may be in the air together: no two of one job, and one of a key not yet asked about.

    The caller writes down in `heard` how each flight ended before it takes the next.
    """
    flight: dict[str, JobEvent] = {}
    asked: set[str] = set()
    for event in events:
        key = event.routing_key
        if event.job_id in flight or key in asked or len(flight) == _IN_FLIGHT:
            yield list(flight.values())
            flight, asked = {}, set()
        if heard.get(key, True):
            flight[event.job_id] = event
            asked |= set() if key in heard else {key}
    if flight:
        yield list(flight.values())


async def _send(channel: AbstractChannel, event: JobEvent) -> bool:
    """Whether it went into a queue."""
    try:
        await channel.basic_publish(
            event.body.model_dump_json().encode(),
            exchange=EVENTS,
            routing_key=event.routing_key,
            properties=Basic.Properties(
                content_type=CONTENT_TYPE,
                delivery_mode=PERSISTENT,
                headers=dict(event.headers),
                # Of this sending: a return names it, and the driver keeps those in flight by it.
                message_id=event.id,
                timestamp=event.at,
            ),
            mandatory=True,
        )
    except PublishError:
        return False
    return True
