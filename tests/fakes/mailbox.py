"""A submit queue that a test fills by hand and whose every decision it can look at."""

import asyncio
import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.domain.envelope import SUBMIT_KEY
from pipeline.domain.errors import Rejected
from pipeline.domain.properties import properties_from_json
from pipeline.ports import Delivery, Remains


@dataclass(frozen=True, slots=True)
class Parked:
    """What was set aside, of which delivery, and why."""

    delivery: Delivery
    body: bytes
    error: Rejected
    remains: Remains | None = None


class FakeMailbox:
    """`pipeline.ports.Mailbox`. A token is the number of the delivery."""

    def __init__(self) -> None:
        self.acked: list[Delivery] = []
        self.parked: list[Parked] = []
        self.replies: list[tuple[Delivery, bytes]] = []
        self.consuming = False
        self.connected = True
        self._numbers = itertools.count(1)
        self._queue: deque[Delivery] = deque()
        self._held: dict[object, Delivery] = {}
        self._arrived = asyncio.Event()

    def deliver(
        self,
        body: bytes,
        routing_key: str = SUBMIT_KEY,
        *,
        content_type: str | None = "application/json",
        message_id: str | None = None,
        reply_to: str | None = None,
        correlation_id: str | None = None,
        times: int = 1,
        exchange: str = "dueq.jobs",
        headers: Mapping[str, Any] | None = None,
    ) -> Delivery:
        """A message arrives in the queue."""
        told = {"content_type": content_type, "message_id": message_id, "reply_to": reply_to,
                "correlation_id": correlation_id}  # fmt: skip
        delivery = Delivery(
            body=body,
            routing_key=routing_key,
            content_type=content_type,
            message_id=message_id,
            reply_to=reply_to,
            correlation_id=correlation_id,
            times=times,
            token=next(self._numbers),
            exchange=exchange,
            properties=properties_from_json(told, headers or {}),
        )
        self._queue.append(delivery)
        self._arrived.set()
        return delivery

    def lose_connection(self) -> None:
        """Everything held comes again, first, once more delivered, under another token."""
        held = [
            replace(delivery, times=delivery.times + 1, token=next(self._numbers))
            for delivery in self._held.values()
        ]
        self._held.clear()
        self._queue.extendleft(reversed(held))
        if self._queue:
            self._arrived.set()

    @property
    def waiting(self) -> int:
        """Messages in the queue that nobody holds."""
        return len(self._queue)

    @property
    def held(self) -> Sequence[Delivery]:
        """Taken and neither acknowledged nor given back."""
        return list(self._held.values())

    async def take(self, limit: int) -> Sequence[Delivery]:
        """All that is there up to `limit`; waits for the first."""
        self.consuming = True
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
        self._held.update((delivery.token, delivery) for delivery in taken)
        return taken

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Forget those that are still held under this token."""
        for delivery in deliveries:
            if self._held.pop(delivery.token, None) is not None:
                self.acked.append(delivery)

    async def park(
        self, delivery: Delivery, body: bytes, error: Rejected, remains: Remains | None = None
    ) -> None:
        """Keep it for the test to look at, unless the delivery is of a lost connection."""
        if delivery.token in self._held:
            self.parked.append(Parked(delivery, body, error, remains))

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """Keep it, if the sender asked for one."""
        if delivery.reply_to and delivery.token in self._held:
            self.replies.append((delivery, body))

    async def give_back(self) -> None:
        """Put back what is held; nobody consumes until the next `take`."""
        self.consuming = False
        self.lose_connection()
