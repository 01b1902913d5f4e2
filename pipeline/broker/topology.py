"""What exists in RabbitMQ: exchanges, queues, bindings, as data, and how they come to be.

Names and arguments are part of the interface: another argument, ever, is
a 406 for every process of another version. So queues are quorum queues and nothing else: no
delivery limit either, for every crash of a reader would count towards it and good jobs would be
thrown away (H19). Declaring is idempotent and safe to do from any number of processes at once.
"""

import asyncio
from dataclasses import dataclass
from typing import Literal

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.abc import AbstractChannel

from pipeline.broker.connection import (
    CALL_SECONDS,
    SERVER,
    broker_errors,
    connect,
    disconnect,
    open_channel,
    wire_of,
)
from pipeline.domain.delayed import DELAY_EXCHANGE
from pipeline.domain.envelope import ACCEPTED_KEY, SUBMIT_KEY
from pipeline.domain.errors import Unavailable
from pipeline.ports import Clock

JOBS, EVENTS, PARKED = "dueq.jobs", "dueq.events", "dueq.parked"
SUBMIT_QUEUE, PARKED_QUEUE = "dueq.submit", "dueq.parked"
QUORUM = {"x-queue-type": "quorum"}
SETTLE_SECONDS = 1.0
"""A broker killed within about half a second of declaring a quorum queue loses what is in it."""


@dataclass(frozen=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: Literal["topic", "fanout"]


@dataclass(frozen=True)
class Binding:
    """What of `exchange` goes to `queue`."""

    exchange: str
    queue: str
    routing_key: str = ""


EXCHANGES = (
    Exchange(JOBS, "topic"),
    Exchange(DELAY_EXCHANGE, "topic"),
    Exchange(EVENTS, "topic"),
    Exchange(PARKED, "fanout"),
)
QUEUES = (SUBMIT_QUEUE, PARKED_QUEUE)
BINDINGS = (
    Binding(JOBS, SUBMIT_QUEUE, SUBMIT_KEY),
    Binding(JOBS, SUBMIT_QUEUE, ACCEPTED_KEY),
    Binding(DELAY_EXCHANGE, SUBMIT_QUEUE, "#"),
    Binding(PARKED, PARKED_QUEUE),
)


async def declare(connection: AbstractConnection, clock: Clock) -> None:
    """Make exchanges, queues and bindings exist; raises one of the driver's errors.

    Waits a second if it had to create something: a quorum queue is registered lazily, and what is
    confirmed before that would not survive a kill of the broker.
    """
    created = not await is_present(connection)
    channel = await open_channel(connection, confirms=False)
    async with asyncio.timeout(CALL_SECONDS):
        if created:
            await _create(channel)
        await _bind(channel)
        await channel.close()
    if created:
        await clock.sleep(SETTLE_SECONDS)


async def is_present(connection: AbstractConnection) -> bool:
    """Whether every exchange and queue is there; asked on a channel that a no closes."""
    channel = await open_channel(connection, confirms=False)
    async with asyncio.timeout(CALL_SECONDS):
        try:
            for exchange in EXCHANGES:
                await channel.exchange_declare(exchange.name, passive=True)
            for queue in QUEUES:
                await channel.queue_declare(queue, passive=True)
        except ChannelNotFoundEntity:
            return False
        await channel.close()
    return True


async def _create(channel: AbstractChannel) -> None:
    for exchange in EXCHANGES:
        await channel.exchange_declare(exchange.name, exchange_type=exchange.type, durable=True)
    for queue in QUEUES:
        await channel.queue_declare(queue, durable=True, arguments=dict(QUORUM))


async def _bind(channel: AbstractChannel) -> None:
    for binding in BINDINGS:
        await channel.queue_bind(binding.queue, binding.exchange, routing_key=binding.routing_key)


@dataclass(frozen=True)
class BrokerReport:
    """What `dueq doctor` wants to know: the broker's version, and whether our topology is there."""

    product: str
    version: str
    topology: bool
    consumers: int
    """Of the submit queue; one that froze is still one until its heartbeats are missed."""


async def check_broker(url: str) -> BrokerReport:
    """Look without changing anything; raises `Unavailable` with the reason."""
    with broker_errors(Unavailable):
        connection = await connect(url, "doctor")
        try:
            properties = wire_of(connection).server_properties
            is_there = await is_present(connection)
            return BrokerReport(
                product=str(properties.get("product", SERVER)),
                version=str(properties.get("version", "unknown")),
                topology=is_there,
                consumers=await _consumers(connection) if is_there else 0,
            )
        finally:
            await disconnect(connection)


async def _consumers(connection: AbstractConnection) -> int:
    """How many take from the submit queue."""
    channel = await open_channel(connection, confirms=False)
    async with asyncio.timeout(CALL_SECONDS):
        state = await channel.queue_declare(SUBMIT_QUEUE, passive=True)
        await channel.close()
    return state.consumer_count or 0


async def declare_topology(url: str, clock: Clock) -> None:
    """Connect, `declare`, leave; raises `Unavailable`. Ingest, watcher and worker begin so."""
    with broker_errors(Unavailable):
        connection = await connect(url, "topology")
        try:
            await declare(connection, clock)
        finally:
            await disconnect(connection)
