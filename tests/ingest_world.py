"""A pipeline in memory behind a submit queue."""

import json
from collections.abc import Iterator
from typing import Any

from pipeline.domain.envelope import ACCEPTED_KEY, encode_accepted
from pipeline.domain.job import Submission
from pipeline.ingest import Ingest
from pipeline.ports import Delivery, JobStore, LeaseQueue, Mailbox
from tests.fakes.mailbox import FakeMailbox
from tests.fakes.world import World


class Door(World):
    """The world with a submit queue before it."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = FakeMailbox()

    def ingest(
        self,
        *,
        mailbox: Mailbox | None = None,
        store: JobStore | None = None,
        queue: LeaseQueue | None = None,
    ) -> Ingest:
        """One ingest process; a part of its own stands in for the true one."""
        return Ingest(
            mailbox or self.mailbox,
            store or self.store,
            queue or self.queue,
            self.clock,
            self.chance,
        )

    def own(self, *submissions: Submission, times: int = 1) -> None:
        """What the gateway publishes."""
        for body in encode_accepted(submissions):
            self.mailbox.deliver(body, ACCEPTED_KEY, times=times)

    def foreign(self, body: Any, **fields: Any) -> Delivery:
        """What anybody publishes."""
        return self.mailbox.deliver(json.dumps(body).encode(), **fields)

    def replies(self) -> Iterator[Any]:
        """What senders were told."""
        return (json.loads(body) for _, body in self.mailbox.replies)

    @property
    def reasons(self) -> list[str]:
        """Why messages were parked."""
        return [parked.error.code for parked in self.mailbox.parked]
