"""RabbitMQ, from both sides: the way in, and the messages that ingest takes from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.domain.errors import Rejected
from pipeline.domain.job import Submission


class Intake(Protocol):
    """The way into RabbitMQ."""

    async def publish(self, submissions: Sequence[Submission]) -> None:
        """Return when RabbitMQ holds all of them durably (R1).

        Raises `UnknownOutcome` when no confirm came in time, `Unavailable` when nothing was sent.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it came. `token` is the adapter's own; `times` is how often it was delivered.

    `properties` are all of them, headers too, byte for byte (`domain.fields` reads them); those
    beside it are None where they cannot be read. `exchange` is the one that it was published to.
    """

    body: bytes
    routing_key: str
    content_type: str | None
    message_id: str | None
    reply_to: str | None
    correlation_id: str | None
    times: int
    token: object
    exchange: str = ""
    properties: bytes = b"\0\0"


@dataclass(frozen=True, slots=True)
class Remains:
    """What is set aside of a message, if not all of it: what its body is, sent again alone."""

    content_type: str
    message_id: str | None


class Mailbox(Protocol):
    """The way out of RabbitMQ: the submit queue, in batches."""

    async def take(self, limit: int) -> Sequence[Delivery]:
        """All that is there up to `limit`, in order; waits for the first, never for more.

        After a lost connection it connects again by itself; what was held is delivered anew.
        """
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """These are stored or parked. Those of a connection that is gone are passed over."""
        ...

    async def park(
        self, delivery: Delivery, body: bytes, error: Rejected, remains: Remains | None = None
    ) -> None:
        """Set `body` (all of the delivery, or what `remains` of it) aside, confirmed (R3)."""
        ...

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """Answer to `reply_to`, if there is one and it still exists."""
        ...

    async def give_back(self) -> None:
        """Stop consuming and return all that is held, once; `take` starts consuming again (R3)."""
        ...
