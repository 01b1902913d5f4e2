"""A feed and an outlet of events in memory, with what a test wants to go wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from pipeline.domain.errors import Unavailable
from pipeline.domain.lifecycle import Change, EventError, JobEvent, Moment
from pipeline.ports import HistoryLost


@dataclass
class Oplog:
    """What happened, and how far it is told; shared by all feeds."""

    changes: list[Change] = field(default_factory=list)
    bookmark: int = 0
    holder: "FakeEventFeed | None" = None
    kept: int = 0
    ends: list[JobEvent] = field(default_factory=list)
    lost: bool = False
    errors: dict[tuple[str, int], EventError] = field(default_factory=dict)


class FakeEventFeed:
    """`pipeline.ports.EventFeed`."""

    def __init__(self, oplog: Oplog) -> None:
        self._oplog = oplog
        self._read: int | None = None

    async def hold(self) -> bool:
        """Free, or ours already."""
        self._oplog.kept += self._oplog.holder is self
        if self._oplog.holder is None:
            self._oplog.holder = self
            self.rewind()
        return self._oplog.holder is self

    async def let_go(self) -> None:
        """If it is ours."""
        if self._oplog.holder is self:
            self._oplog.holder = None

    async def read(self, limit: int) -> Sequence[Change]:
        """What comes after what was read; others run meanwhile."""
        await asyncio.sleep(0)
        if self._oplog.lost:
            raise HistoryLost("code 286")
        begin = self._oplog.bookmark if self._read is None else self._read
        changes = self._oplog.changes[begin : begin + limit]
        self._read = begin + len(changes)
        return changes

    async def mark(self) -> bool:
        """Only for the holder."""
        if self._oplog.holder is not self:
            return False
        assert self._read is not None
        self._oplog.bookmark = self._read
        return True

    def rewind(self) -> None:
        """To the bookmark."""
        self._read = None

    async def before(
        self, job_ids: Sequence[str], moment: Moment
    ) -> Mapping[str, Mapping[str, object]]:
        """By playing all that came earlier."""
        jobs: dict[str, dict[str, object]] = {}
        for change in self._oplog.changes:
            if change.job_id in job_ids and change.moment < moment:
                jobs.setdefault(change.job_id, {}).update(change.fields)
        return jobs

    async def errors(
        self, attempts: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], EventError]:
        """As the test put them there."""
        return {key: self._oplog.errors[key] for key in attempts if key in self._oplog.errors}

    async def start_over(self) -> AsyncIterator[Sequence[JobEvent]]:
        """The ends that the test put there, one by one."""
        self._oplog.lost = False
        self._read = len(self._oplog.changes)
        for end in self._oplog.ends:
            yield [end]

    async def lag(self) -> timedelta | None:
        """Nobody asks."""
        return None


class FakeEventOutlet:
    """`pipeline.ports.EventOutlet`; `refuses` after so many more events."""

    def __init__(self) -> None:
        self.told: list[JobEvent] = []
        self.refuses_after: int | None = None
        self.heard = True
        self.takes: Callable[[], Awaitable[None]] = _no_time

    async def publish(self, events: Sequence[JobEvent]) -> int:
        """One by one."""
        await self.takes()
        for event in events:
            if self.refuses_after == 0:
                raise Unavailable("RabbitMQ", "blocked")
            if self.refuses_after is not None:
                self.refuses_after -= 1
            self.told.append(event)
        return len(events) if self.heard else 0


async def _no_time() -> None:
    """Publishing that takes none."""
