"""One connection that consumes the submit queue: what has come, and what is still unanswered.

It lives until anything at all is wrong with it (connection, channel or consumer gone, an answer
that does not come); then it is thrown away and RabbitMQ delivers again what it held. Acknowledging
through a later connection would close that one too (406), so a delivery knows its consumer.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, DeliveredMessage

from pipeline.broker.connection import (
    CALL_SECONDS,
    broker_errors,
    connect,
    disconnect,
    open_channel,
)
from pipeline.broker.exact import Line, properties_of
from pipeline.broker.topology import SUBMIT_QUEUE, declare
from pipeline.domain.errors import Unavailable
from pipeline.domain.properties import text_of
from pipeline.ports import Clock, Delivery

PROBE_SECONDS = 30.0
ALL_OUTSTANDING = 0
"""As a delivery tag with `multiple`: every delivery of the channel."""


@dataclass(frozen=True, slots=True, eq=False)
class Receipt:
    """Which delivery of which consumer: what `Delivery.token` holds."""

    consumer: "Consumer"
    tag: int
    message: DeliveredMessage


class Consumer:
    """`lost` says that it is of no more use."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self.connection = connection
        self.lost = False
        self._channel = channel
        self._name = ""
        self._answering: AbstractChannel | None = None
        self._parking: Line | None = None
        self._waiting: deque[Delivery] = deque()
        self._unanswered: dict[int, None] = {}
        self._answered: set[int] = set()
        self._woken = asyncio.Event()

    @classmethod
    async def open(cls, url: str, clock: Clock, prefetch: int) -> Self:
        """Connect, declare, consume; raises one of `BROKER_ERRORS`."""
        connection = await connect(url, "ingest")
        try:
            await declare(connection, clock)
            # A delivery is three frames: with less room than the prefetch, reading the socket and
            # sorting the frames would take turns every few messages.
            channel = await open_channel(connection, confirms=False, frame_buffer=3 * prefetch)
            consumer = cls(connection, channel)
            await consumer._consume(prefetch)
        except BaseException:
            await disconnect(connection)
            raise
        return consumer

    async def _consume(self, prefetch: int) -> None:
        channel = self._channel
        channel.closing.add_done_callback(lambda _: self.give_up())
        channel.on_consumer_cancel_callbacks.add(lambda _: self.give_up())
        async with asyncio.timeout(CALL_SECONDS):
            await channel.basic_qos(prefetch_count=prefetch)
            consuming = await channel.basic_consume(SUBMIT_QUEUE, self._arrive)
        self._name = consuming.consumer_tag or ""

    async def _arrive(self, message: DeliveredMessage) -> None:
        """Called for every message: nothing here may fail, and nothing that can wait is done."""
        tag = message.delivery_tag
        assert tag is not None
        raw, values = properties_of(message)
        self._unanswered[tag] = None
        self._waiting.append(
            Delivery(
                body=message.body,
                routing_key=message.routing_key or "",
                content_type=text_of(values, "content_type"),
                message_id=text_of(values, "message_id"),
                reply_to=text_of(values, "reply_to"),
                correlation_id=text_of(values, "correlation_id"),
                times=_times(message),
                token=Receipt(self, tag, message),
                exchange=message.exchange or "",
                properties=raw,
            )
        )
        self._woken.set()

    def give_up(self) -> None:
        """From now on it is lost; wakes whoever waits."""
        self.lost = True
        self._woken.set()

    async def take(self, limit: int) -> Sequence[Delivery]:
        """What is there up to `limit`, at once or when the first comes; nothing when it is lost."""
        while not self.lost and not self._waiting:
            self._woken.clear()
            await self._wait_or_probe()
        if self.lost:
            return ()
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    async def _wait_or_probe(self) -> None:
        """Connected and yet nothing comes: now and then ask whether that can be true."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            if await self._is_starved():
                self.give_up()

    async def _is_starved(self) -> bool:
        """Whether the queue holds messages though we hold none, or nobody answers at all."""
        try:
            with broker_errors(Unavailable):
                async with asyncio.timeout(CALL_SECONDS):
                    state = await self._channel.queue_declare(SUBMIT_QUEUE, passive=True)
        except Unavailable:
            return True
        return bool(state.message_count) and not self._unanswered

    async def ack(self, tags: Sequence[int]) -> None:
        """Acknowledge; the oldest unanswered ones in a single frame.

        A loss on the way means that they come again, and ingest finds them known.
        """
        self._answered.update(tag for tag in tags if tag in self._unanswered)
        last = self._forget_oldest()
        if last is not None:
            await self._write_ack(last, multiple=True)
        rest, self._answered = sorted(self._answered), set()
        for tag in rest:
            del self._unanswered[tag]
            await self._write_ack(tag, multiple=False)

    def _forget_oldest(self) -> int | None:
        """The last tag of the unbroken row of answered ones, none older being unanswered."""
        last = None
        while self._unanswered:
            oldest = next(iter(self._unanswered))
            if oldest not in self._answered:
                break
            self._answered.discard(oldest)
            del self._unanswered[oldest]
            last = oldest
        return last

    async def _write_ack(self, tag: int, *, multiple: bool) -> None:
        if self.lost:
            return
        try:
            with broker_errors(Unavailable):
                async with asyncio.timeout(CALL_SECONDS):
                    await self._channel.basic_ack(tag, multiple=multiple, wait=False)
        except Unavailable:
            self.give_up()

    async def answering(self) -> AbstractChannel:
        """A channel for replies, so that a refused one does not close the consuming one."""
        if self._answering is None or self._answering.is_closed:
            self._answering = await open_channel(self.connection, confirms=False)
        return self._answering

    async def parking(self) -> Line:
        """One for what is set aside, with confirms."""
        if self._parking is None or not self._parking.is_usable:
            self._parking = Line(await open_channel(self.connection, confirms=True))
        return self._parking

    async def close(self) -> None:
        """Stop consuming and return everything unanswered to the queue, once."""
        self.give_up()
        # Closing the connection returns them just as well.
        with suppress(Unavailable), broker_errors(Unavailable):
            async with asyncio.timeout(CALL_SECONDS):
                await self._channel.basic_cancel(self._name)
                if self._unanswered:
                    await self._channel.basic_nack(ALL_OUTSTANDING, multiple=True, requeue=True)
        await disconnect(self.connection)


def _times(message: DeliveredMessage) -> int:
    """The first delivery has no count; the header may also be a sender's own nonsense."""
    headers = message.header.properties.headers
    count = headers.get("x-delivery-count") if headers else None
    return count + 1 if isinstance(count, int) and count > 0 else 1
