"""The way out of RabbitMQ: the submit queue, in batches.

Nothing is acknowledged before `ack`, so whatever happens here, RabbitMQ still has it. After a loss
`take` connects again by itself; deliveries of the lost connection come anew, and answers to the old
ones are passed over.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

from pamqp.commands import Basic

from pipeline.broker.connection import (
    CALL_SECONDS,
    SERVER,
    Backoff,
    broker_errors,
    heed_cancel,
)
from pipeline.broker.consumer import Consumer, Receipt
from pipeline.broker.parked import Notes, parked_properties
from pipeline.broker.topology import PARKED
from pipeline.domain.amqp_work import is_our_own
from pipeline.domain.errors import Rejected, Unavailable, UnknownOutcome
from pipeline.domain.properties import TRANSIENT
from pipeline.ports import Chance, Clock, Delivery, Remains
from pipeline.telemetry import log

_log = log(__name__)
PREFETCH = 500
"""A message may be 1 MiB: this many is what a process may have to hold."""


class RabbitMailbox:
    """`pipeline.ports.Mailbox`. `give_back` (or `close`) before the loop ends."""

    def __init__(self, url: str, clock: Clock, chance: Chance, prefetch: int = PREFETCH) -> None:
        self._url = url
        self._clock = clock
        self._chance = chance
        self._prefetch = prefetch
        self._backoff = Backoff(clock, chance)
        self._consumer: Consumer | None = None

    @property
    def connected(self) -> bool:
        """Whether it consumes at the moment."""
        return self._consumer is not None and not self._consumer.lost

    async def take(self, limit: int) -> Sequence[Delivery]:
        """All that is there up to `limit`, in order; waits for the first, never for more."""
        while True:
            consumer = self._consumer
            if consumer is None or consumer.lost:
                consumer = await self._connect()
            if deliveries := await consumer.take(limit):
                return deliveries

    async def _connect(self) -> Consumer:
        """A new consumer, however long it takes."""
        await self.give_back()
        while True:
            try:
                with broker_errors(Unavailable):
                    self._consumer = await Consumer.open(self._url, self._clock, self._prefetch)
            except Unavailable as error:
                if self._backoff.failures == 0:
                    _log.warning("broker.lost", error=str(error), next="reconnecting")
                heed_cancel()
                await self._backoff.wait()
            else:
                heed_cancel()
                self._backoff.reset()
                _log.info("broker.connected", prefetch=self._prefetch)
                return self._consumer

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """These are stored or parked."""
        tags: dict[Consumer, list[int]] = defaultdict(list)
        for delivery in deliveries:
            receipt = _receipt(delivery)
            tags[receipt.consumer].append(receipt.tag)
        for consumer, its_tags in tags.items():
            if not consumer.lost:
                await consumer.ack(its_tags)

    async def park(
        self, delivery: Delivery, body: bytes, error: Rejected, remains: Remains | None = None
    ) -> None:
        """Set `body` aside with the reason, confirmed; that of a lost connection comes again."""
        consumer = _receipt(delivery).consumer
        if consumer.lost:
            return
        notes = Notes(self._chance.token(), self._clock.now(), error)
        properties = parked_properties(delivery, remains, notes)
        with broker_errors(UnknownOutcome):
            async with asyncio.timeout(CALL_SECONDS):
                line = await consumer.parking()
                await line.publish(body, PARKED, "", properties)

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """Answer, if there is somebody to answer; nobody may make us write to our own queues.

        Not confirmed: who asked and hears nothing asks again under the same `message_id`.
        """
        consumer = _receipt(delivery).consumer
        target = delivery.reply_to
        if not target or is_our_own("", target) or consumer.lost:
            return
        with suppress(Unavailable), broker_errors(Unavailable):
            async with asyncio.timeout(CALL_SECONDS):
                channel = await consumer.answering()
                await channel.basic_publish(
                    body, routing_key=target, properties=_reply_properties(delivery)
                )

    async def give_back(self) -> None:
        """Stop consuming and return all that is held, once; `take` starts consuming again."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()

    async def close(self) -> None:
        """The same as `give_back`: nothing else is open."""
        await self.give_back()


def _receipt(delivery: Delivery) -> Receipt:
    assert isinstance(delivery.token, Receipt), f"not a delivery of {SERVER}"
    return delivery.token


def _reply_properties(delivery: Delivery) -> Basic.Properties:
    return Basic.Properties(
        content_type="application/json",
        correlation_id=delivery.correlation_id,
        delivery_mode=TRANSIENT,
    )
