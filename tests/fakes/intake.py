"""An intake that a test holds in its hand: messages as RabbitMQ would have them."""

import asyncio
from collections.abc import Sequence

from pipeline.domain.envelope import ACCEPTED_KEY, encode_accepted
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.job import Submission
from tests.fakes.mailbox import FakeMailbox


class FakeIntake:
    """`pipeline.ports.Intake`. What it publishes arrives in `mailbox`, if there is one.

    `down`: nothing is sent. `silent`: everything arrives and nothing is confirmed. `hold()`: from
    now on confirms wait for `release()`.
    """

    def __init__(self, mailbox: FakeMailbox | None = None) -> None:
        self.connected = True
        self.down = False
        self.silent = False
        self.publishes: list[Sequence[Submission]] = []
        self.bodies: list[bytes] = []
        self._mailbox = mailbox
        self._open = asyncio.Event()
        self._open.set()

    @property
    def submissions(self) -> list[Submission]:
        """Everything published, in order."""
        return [submission for publish in self.publishes for submission in publish]

    def hold(self) -> None:
        """Confirm nothing until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Confirm."""
        self._open.set()

    async def publish(self, submissions: Sequence[Submission]) -> None:
        """Put them into the mailbox, then confirm."""
        if self.down:
            raise Unavailable("RabbitMQ", "not connected")
        self.publishes.append(submissions)
        for body in encode_accepted(submissions):
            self.bodies.append(body)
            if self._mailbox is not None:
                self._mailbox.deliver(body, routing_key=ACCEPTED_KEY)
        await self._open.wait()
        if self.silent:
            raise UnknownOutcome("RabbitMQ", "no answer in time")
