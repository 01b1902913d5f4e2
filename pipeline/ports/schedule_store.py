"""MongoDB's schedules and the fires they skipped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from pipeline.domain.firing import Plan, SkipReason
from pipeline.domain.job import Job
from pipeline.domain.schedule import Schedule
from pipeline.ports.job_store import Position


@dataclass(frozen=True, slots=True)
class Skipped:
    """Fire times of a schedule that got no job, from `first` to `last`, as it was written down."""

    schedule_id: str
    first: datetime
    last: datetime
    reason: SkipReason
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Advance:
    """What a watcher has decided about a schedule as it had read it (`before`)."""

    before: Schedule
    plan: Plan

    @property
    def after(self) -> Schedule:
        """The schedule as it stands afterwards."""
        return replace(
            self.before,
            next_fire_at=self.plan.next_fire_at,
            fired_until=self.plan.fired_until,
            is_held=self.plan.is_held,
        )


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """A part of the list of schedules, newest first; `after` of the next call, or None."""

    schedules: Sequence[Schedule]
    next_after: Position | None


class ScheduleStore(Protocol):
    """Schedules in MongoDB. Every write is one conditional write, `w: majority`.

    Every method may be repeated after `UnknownOutcome` and comes to the same.
    """

    # -- owners
    async def insert_schedule(self, schedule: Schedule) -> bool:
        """Store it; False if there is one with this id already."""
        ...

    async def replace_schedule(self, before: Schedule, after: Schedule) -> bool:
        """Write `after` if it still stands as `before`, fires included; False if it does not."""
        ...

    async def delete_schedule(self, before: Schedule) -> bool:
        """Delete it and what was written down of its fires, if its version is still `before`'s.

        Its jobs stay. False if it is another version; True if there is none.
        """
        ...

    async def get_schedule(self, schedule_id: str) -> Schedule | None:
        """The schedule, or None (read concern majority)."""
        ...

    async def list_schedules(
        self, limit: int, after: Position | None, q: str | None = None
    ) -> SchedulePage:
        """Newest first by (created_at, id), strictly after `after`; `q` is the name's start."""
        ...

    async def skipped(
        self, schedule_id: str, limit: int, before: datetime | None
    ) -> Sequence[Skipped]:
        """What was skipped, newest first by `first`, strictly before `before`."""
        ...

    async def runs(self, schedule_id: str, limit: int, before: datetime | None) -> Sequence[Job]:
        """Its jobs, newest first by fire time, strictly before `before`. By an index."""
        ...

    # -- watchers
    async def schedules_to_look_at(self, until: datetime, limit: int) -> Sequence[Schedule]:
        """Up to `limit` of the oldest whose `look_at` has come by `until`. By an index.

        Empty: there are none. Of many, each watcher gets others (R12).
        """
        ...

    def pass_over(self, schedule_ids: Sequence[str]) -> None:
        """This process cannot handle these: it does not look at them for up to a minute."""
        ...

    async def next_look_at(self) -> datetime | None:
        """The earliest `look_at` there is. By an index."""
        ...

    async def advance(self, advances: Sequence[Advance], look_again_at: datetime) -> None:
        """Write down what is skipped, then move each schedule on, if it stands as it was read.

        A schedule whose version or fires are others by now is left as it is (R13). One
        that is held (`overlap: queue`) is looked at again at `look_again_at`.
        """
        ...

    async def unfinished_runs(self, before: Mapping[str, datetime]) -> Mapping[str, Sequence[str]]:
        """By schedule, its jobs of fire times earlier than the given that are not final (H8)."""
        ...
