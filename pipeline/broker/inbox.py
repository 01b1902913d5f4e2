"""A queue of one's own on a broker: what somebody publishes to it can be seen to have arrived.

For `dueq demo`. Exchange and queue are gone as soon as the connection is.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aio_pika import ExchangeType
from aio_pika.abc import AbstractIncomingMessage

from pipeline.broker.connection import broker_errors, connect, disconnect
from pipeline.domain.errors import Unavailable


class Inbox:
    """What has arrived so far: message id → body."""

    def __init__(self) -> None:
        self.arrived: dict[str, bytes] = {}

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Keep one message."""
        self.arrived[message.message_id or ""] = message.body


@asynccontextmanager
async def open_inbox(url: str, exchange: str, routing_key: str) -> AsyncIterator[Inbox]:
    """Receive what is published to `exchange` under `routing_key`; raises `Unavailable`."""
    inbox = Inbox()
    with broker_errors(Unavailable):
        connection = await connect(url, "inbox")
    try:
        with broker_errors(Unavailable):
            channel = await connection.channel()
            source = await channel.declare_exchange(exchange, ExchangeType.DIRECT, auto_delete=True)
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(source, routing_key)
            await queue.consume(inbox.take, no_ack=True)
        yield inbox
    finally:
        await disconnect(connection)
