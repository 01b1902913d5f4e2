"""A channel that many publish on at a time, once one message has gone through.

The broker closes a channel for what it does not allow, and what is sent after that ends the whole
connection. Whether we may write to an exchange shows when something is written: so the first one
goes alone. Of an exchange that is closed to us every message is a first one, each on a channel of
its own. Rights that are taken away later, or an exchange that is deleted, may still cost the
connection: what was in flight ends as unknown.
"""

import asyncio

from aiormq.abc import AbstractChannel
from aiormq.exceptions import DeliveryError
from pamqp.commands import Basic

from pipeline.broker.exact import GivenUp


class ProvenChannel:
    """Publishes mandatory messages, each with a `message_id` of its own."""

    def __init__(self, channel: AbstractChannel) -> None:
        self.channel = channel
        self._is_proven = False
        self._first = asyncio.Lock()

    async def publish(
        self, body: bytes, exchange: str, routing_key: str, properties: Basic.Properties
    ) -> None:
        """Return when it is confirmed.

        Raises `GivenUp` when nothing was sent, since the first one closed the channel; or one of
        the driver's errors.
        """
        if not self._is_proven:
            async with self._first:
                if not self._is_proven:
                    await self._prove(body, exchange, routing_key, properties)
                    return
        await self._send(body, exchange, routing_key, properties)

    async def _prove(
        self, body: bytes, exchange: str, routing_key: str, properties: Basic.Properties
    ) -> None:
        try:
            await self._send(body, exchange, routing_key, properties)
        except DeliveryError:  # no queue takes it, or a full one refused it: but we may write there
            self._is_proven = True
            raise
        self._is_proven = True

    async def _send(
        self, body: bytes, exchange: str, routing_key: str, properties: Basic.Properties
    ) -> None:
        if self.channel.is_closed:
            raise GivenUp("the channel was given up")
        await self.channel.basic_publish(
            body,
            exchange=exchange,
            routing_key=routing_key,
            properties=properties,
            mandatory=True,
        )
