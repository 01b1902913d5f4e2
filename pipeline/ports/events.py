"""What happened to jobs: read from MongoDB, told to RabbitMQ."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from pipeline.domain.errors import DueQError
from pipeline.domain.lifecycle import Change, EventError, JobEvent, Moment


class HistoryLost(DueQError):
    """What happened since the last announcement is no longer in MongoDB's oplog."""


class EventFeed(Protocol):
    """What happens to jobs, in MongoDB's order, and who may tell of it: one holder at a time.

    Holding moves no job (R12): who loses it, or wakes late, can no longer move the bookmark, and
    what he tells again are repeats.
    """

    async def hold(self) -> bool:
        """Take or keep the right to tell; False while somebody else has it."""
        ...

    async def let_go(self) -> None:
        """Give it up, so that another need not wait for its end."""
        ...

    async def read(self, limit: int) -> Sequence[Change]:
        """The next changes, in order; waits up to a second for the first, never for more.

        The first call after `hold` or `rewind` begins at the bookmark. Raises `HistoryLost`.
        """
        ...

    async def mark(self) -> bool:
        """Move the bookmark behind all that was read, and keep the right; False: it is lost."""
        ...

    def rewind(self) -> None:
        """Begin again at the bookmark."""
        ...

    async def before(
        self, job_ids: Sequence[str], moment: Moment
    ) -> Mapping[str, Mapping[str, object]]:
        """These jobs as they were just before `moment`.

        What is older than MongoDB remembers (five minutes by default) is told by what they are now
        without what may have changed since; a job that is gone is left out.
        """
        ...

    async def errors(
        self, attempts: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], EventError]:
        """What these attempts died of, as far as their records are still there."""
        ...

    def start_over(self) -> AsyncIterator[Sequence[JobEvent]]:
        """Give up what is lost and go on from now; gives the ends that may not have been told.

        In batches, every job that ended since the bookmark and has not moved on. The bookmark
        is moved by the `mark` after the last of them.
        """
        ...

    async def lag(self) -> timedelta | None:
        """How far the events are behind what has happened; None: nothing was ever told."""
        ...


class EventOutlet(Protocol):
    """The way out: `dueq.events`."""

    async def publish(self, events: Sequence[JobEvent]) -> int:
        """Return when RabbitMQ has confirmed all of them, in order for each job.

        How many of them somebody listens to. Raises `Unavailable` or `UnknownOutcome`; the same
        events again are then repeats.
        """
        ...
