"""A broker to test with: the fake one and the real one, seen through a second client library."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from amqpstorm.channel import Channel
from amqpstorm.message import Message
from amqpstorm.uri_connection import UriConnection

from pipeline.broker.mailbox import RabbitMailbox
from pipeline.broker.publisher import RabbitIntake
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.envelope import SUBMIT_KEY
from pipeline.ports import Intake, Mailbox
from tests.cable import Cable
from tests.fakes.intake import FakeIntake
from tests.fakes.mailbox import FakeMailbox
from tests.support import eventually

Done = TypeVar("Done")


@dataclass(frozen=True)
class Letter:
    """A message as somebody else sees it."""

    body: bytes
    properties: dict[str, Any]

    @property
    def headers(self) -> dict[str, Any]:
        """Its headers."""
        headers: dict[str, Any] = self.properties.get("headers") or {}
        return headers


class World(Protocol):
    """Intake and mailbox on one broker, and what a stranger can do there."""

    @property
    def intake(self) -> Intake:
        """The way in."""
        ...

    @property
    def mailbox(self) -> Mailbox:
        """The way out."""
        ...

    async def send(self, body: bytes, **properties: Any) -> None:
        """Publish to `dueq.jobs` as any client would."""
        ...

    async def parked(self) -> list[Letter]:
        """What lies in `dueq.parked`."""
        ...

    async def replies(self) -> list[Letter]:
        """What came to the queue `answers`."""
        ...

    async def lose_connection(self) -> None:
        """The mailbox loses its connection."""
        ...


class FakeWorld:
    """In memory."""

    def __init__(self) -> None:
        self.mailbox = FakeMailbox()
        self.intake = FakeIntake(self.mailbox)

    async def send(self, body: bytes, **properties: Any) -> None:
        self.mailbox.deliver(body, **properties)

    async def parked(self) -> list[Letter]:
        return [
            Letter(
                parked.body,
                {
                    "message_id": parked.delivery.message_id,
                    "headers": {
                        "dueq-code": parked.error.code,
                        "dueq-error": str(parked.error),
                        "dueq-pointer": parked.error.flaws[0].pointer,
                    },
                },
            )
            for parked in self.mailbox.parked
        ]

    async def replies(self) -> list[Letter]:
        return [
            Letter(body, {"correlation_id": delivery.correlation_id})
            for delivery, body in self.mailbox.replies
            if delivery.reply_to == "answers"
        ]

    async def lose_connection(self) -> None:
        self.mailbox.lose_connection()


class RealWorld:
    """RabbitMQ; intake and mailbox reach it by a cable each, the stranger directly."""

    def __init__(self, url: str, cables: tuple[Cable, Cable]) -> None:
        self.url = url
        self.intake_cable, self.mailbox_cable = cables
        clock, chance = StoreClock(), SystemChance()
        self.intake = RabbitIntake(self.intake_cable.url, 2.0, clock, chance)
        self.mailbox = RabbitMailbox(self.mailbox_cable.url, clock, chance, prefetch=100)

    async def send(self, body: bytes, **properties: Any) -> None:
        properties.setdefault("content_type", "application/json")

        def publish(channel: Channel) -> None:
            channel.confirm_deliveries()
            channel.basic.publish(body, SUBMIT_KEY, "dueq.jobs", properties, mandatory=True)

        await self.as_stranger(publish)

    async def parked(self) -> list[Letter]:
        return await self.as_stranger(lambda channel: _drain(channel, "dueq.parked"))

    async def replies(self) -> list[Letter]:
        return await self.as_stranger(lambda channel: _drain(channel, "answers"))

    async def lose_connection(self) -> None:
        self.mailbox_cable.cut()
        await eventually(lambda: not self.mailbox.connected)

    async def as_stranger(self, act: Callable[[Channel], Done]) -> Done:
        """Do it on a connection of another library, in a thread."""
        return await asyncio.to_thread(as_stranger, self.url, act)


@asynccontextmanager
async def real_world(url: str) -> AsyncIterator[RealWorld]:
    """Intake and mailbox connected and the queue `answers` there, until the body ends."""
    async with Cable(url).laid() as one, Cable(url).laid() as other:
        world = RealWorld(url, (one, other))
        async with world.intake as intake:
            await eventually(lambda: intake.connected)
            await world.as_stranger(_empty)
            try:
                yield world
            finally:
                await world.mailbox.close()


def _empty(channel: Channel) -> None:
    channel.queue.declare("answers")
    for queue in ("answers", "dueq.submit", "dueq.parked"):
        channel.queue.purge(queue)


def as_stranger(url: str, act: Callable[[Channel], Done]) -> Done:
    """Do it on a connection and a channel of its own."""
    with UriConnection(url) as connection, connection.channel() as channel:
        return act(channel)


def _drain(channel: Channel, queue: str) -> list[Letter]:
    letters: list[Letter] = []
    while message := channel.basic.get(queue, no_ack=True, auto_decode=False):
        assert isinstance(message, Message)
        assert isinstance(message.body, bytes)
        letters.append(Letter(message.body, dict(message.properties)))
    return letters
