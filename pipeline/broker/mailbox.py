"""The way out of RabbitMQ: the submit queue, in batches.

Nothing is acknowledged before `ack`, so whatever happens here, RabbitMQ still has it. After a loss
`take` connects again by itself; deliveries of the lost connection come anew, and answers to the old
ones are passed over.
"""

import asyncio
import struct
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

import pamqp.frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from pipeline.broker.connection import (
    CALL_SECONDS,
    SERVER,
    Backoff,
    broker_errors,
    heed_cancel,
)
from pipeline.broker.consumer import Consumer, Receipt
from pipeline.broker.topology import PARKED
from pipeline.domain.errors import Rejected, Unavailable, UnknownOutcome
from pipeline.ports import Chance, Clock, Delivery
from pipeline.telemetry import log

_log = log(__name__)
PREFETCH = 500
"""A message may be 1 MiB: this many is what a process may have to hold."""
MAX_HEADER_BYTES = 100_000
"""A header frame beyond the broker's frame size (128 KiB) would close the connection."""
PERSISTENT, TRANSIENT = 2, 1
OURS = "dueq."


class RabbitMailbox:
    """`pipeline.ports.Mailbox`. `give_back` (or `close`) before the loop ends."""

    def __init__(self, url: str, clock: Clock, chance: Chance, prefetch: int = PREFETCH) -> None:
        self._url = url
        self._clock = clock
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

    async def park(self, delivery: Delivery, body: bytes, error: Rejected) -> None:
        """Set `body` aside with the reason, confirmed; that of a lost connection comes again."""
        receipt = _receipt(delivery)
        if receipt.consumer.lost:
            return
        with broker_errors(UnknownOutcome):
            async with asyncio.timeout(CALL_SECONDS):
                channel = await receipt.consumer.channel(confirms=True)
                await channel.basic_publish(
                    body,
                    exchange=PARKED,
                    properties=_parked_properties(receipt, error),
                    mandatory=True,
                )

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """Answer, if there is somebody to answer; nobody may make us write to our own queues.

        Not confirmed: who asked and hears nothing asks again under the same `message_id`.
        """
        consumer = _receipt(delivery).consumer
        target = delivery.reply_to
        if not target or target.startswith(OURS) or consumer.lost:
            return
        with suppress(Unavailable), broker_errors(Unavailable):
            async with asyncio.timeout(CALL_SECONDS):
                channel = await consumer.channel(confirms=False)
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


def _parked_properties(receipt: Receipt, error: Rejected) -> Basic.Properties:
    """The sender's own properties with our reason; without his headers where they do not fit.

    `user_id` and `expiration` are left out: the broker would refuse the one from us, and by the
    other the parked message would vanish.
    """
    original = receipt.message.header.properties
    reason = {
        "dueq-code": error.code,
        "dueq-error": _one_header(str(error)),
        "dueq-pointer": _one_header(error.flaws[0].pointer if error.flaws else ""),
    }
    kept = {
        name: value
        for name, value in (original.headers or {}).items()
        if name not in ("CC", "BCC", "x-delivery-count")
    }
    properties = Basic.Properties(
        content_type=original.content_type,
        content_encoding=original.content_encoding,
        headers={**kept, **reason},
        delivery_mode=PERSISTENT,
        priority=original.priority,
        correlation_id=original.correlation_id,
        reply_to=original.reply_to,
        message_id=original.message_id,
        timestamp=original.timestamp,
        message_type=original.message_type,
        app_id=original.app_id,
    )
    if not _fits(properties):
        properties.headers = dict(reason)
    return properties


def _one_header(text: str) -> str:
    return text[:1000].encode(errors="replace").decode()


def _fits(properties: Basic.Properties) -> bool:
    """Whether it can be written again: not every table that can be read can be."""
    try:
        frame = pamqp.frame.marshal(ContentHeader(properties=properties), 1)
    except (TypeError, ValueError, OverflowError, struct.error):
        return False
    return len(frame) <= MAX_HEADER_BYTES
