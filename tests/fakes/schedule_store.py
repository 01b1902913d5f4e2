"""Schedules in memory, with MongoDB's answers (tests/adapters/test_schedule_store.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from pipeline.domain.errors import Unavailable
from pipeline.domain.identity import id_of_fire
from pipeline.domain.instants import from_ms, to_ms
from pipeline.domain.job import Job
from pipeline.domain.schedule import Schedule
from pipeline.domain.states import FINAL_STATES
from pipeline.ports import Advance, Clock, Position, SchedulePage, Skipped
from tests.fakes.faults import Fault, Faulty, may_fail
from tests.fakes.job_store import FakeJobStore


class FakeScheduleStore(Faulty):
    """Shares the jobs and the fate (`down`) of a `FakeJobStore`: they are one MongoDB."""

    def __init__(self, jobs: FakeJobStore, clock: Clock) -> None:
        super().__init__("MongoDB")
        self._jobs = jobs
        self._clock = clock
        self.schedules: dict[str, Schedule] = {}
        self.looks: dict[str, datetime] = {}
        self.skips: dict[tuple[str, int], Skipped] = {}
        self.passed_over: dict[str, float] = {}

    def _next_fault(self, method: str) -> Fault | None:
        if self._jobs.down:
            return Fault(Unavailable, applied=False)
        return super()._next_fault(method)

    # -- owners

    @may_fail
    async def insert_schedule(self, schedule: Schedule) -> bool:
        if schedule.id in self.schedules:
            return False
        self._put(schedule, schedule.look_at)
        return True

    @may_fail
    async def replace_schedule(self, before: Schedule, after: Schedule) -> bool:
        if not self._stands(before):
            return False
        self._put(after, after.look_at)
        return True

    @may_fail
    async def delete_schedule(self, before: Schedule) -> bool:
        stored = self.schedules.get(before.id)
        if stored is not None and stored.version != before.version:
            return False
        self.schedules.pop(before.id, None)
        self.looks.pop(before.id, None)
        for key in [key for key in self.skips if key[0] == before.id]:
            del self.skips[key]
        return True

    @may_fail
    async def get_schedule(self, schedule_id: str) -> Schedule | None:
        return self.schedules.get(schedule_id)

    @may_fail
    async def list_schedules(
        self, limit: int, after: Position | None, q: str | None = None
    ) -> SchedulePage:
        found = [
            schedule
            for schedule in self.schedules.values()
            if (not q or (schedule.spec.name or "").startswith(q))
            and (after is None or _position(schedule) < after)
        ]
        found.sort(key=_position, reverse=True)
        page = found[:limit]
        return SchedulePage(page, _position(page[-1]) if len(found) > limit else None)

    @may_fail
    async def skipped(
        self, schedule_id: str, limit: int, before: datetime | None
    ) -> Sequence[Skipped]:
        found = [
            skip
            for skip in self.skips.values()
            if skip.schedule_id == schedule_id
            and (before is None or skip.first < before)
            and not (skip.first == skip.last and self._has_job(schedule_id, skip.first))
        ]
        return sorted(found, key=lambda skip: skip.first, reverse=True)[:limit]

    def _has_job(self, schedule_id: str, fire_time: datetime) -> bool:
        job_id = id_of_fire(schedule_id, fire_time)
        return job_id in self._jobs.jobs or job_id in self._jobs.tombs

    @may_fail
    async def runs(self, schedule_id: str, limit: int, before: datetime | None) -> Sequence[Job]:
        found = [
            (job.fire_time, job)
            for job in self._jobs.jobs.values()
            if job.schedule_id == schedule_id and job.fire_time is not None
        ]
        found.sort(key=lambda each: each[0], reverse=True)
        return [job for fire_time, job in found if before is None or fire_time < before][:limit]

    # -- watchers

    @may_fail
    async def schedules_to_look_at(self, until: datetime, limit: int) -> Sequence[Schedule]:
        come = sorted((at, each) for each, at in self._looks().items() if at <= until)
        return [self.schedules[schedule_id] for _, schedule_id in come[:limit]]

    def pass_over(self, schedule_ids: Sequence[str]) -> None:
        until = self._clock.monotonic() + 60
        self.passed_over.update(dict.fromkeys(schedule_ids, until))

    def _looks(self) -> Mapping[str, datetime]:
        now = self._clock.monotonic()
        return {
            schedule_id: look_at
            for schedule_id, look_at in self.looks.items()
            if self.passed_over.get(schedule_id, now) <= now
        }

    @may_fail
    async def next_look_at(self) -> datetime | None:
        return min(self._looks().values(), default=None)

    @may_fail
    async def advance(self, advances: Sequence[Advance], look_again_at: datetime) -> None:
        decided_at = from_ms(to_ms(self._clock.now()))
        for advance in advances:
            for skip in advance.plan.skips:
                schedule_id = advance.before.id
                written = Skipped(schedule_id, skip.first, skip.last, skip.reason, decided_at)
                known = self.skips.setdefault((schedule_id, to_ms(skip.first)), written)
                longest = max(known.last, written.last)
                self.skips[schedule_id, to_ms(skip.first)] = replace(known, last=longest)
        for advance in advances:
            if self._stands(advance.before):
                self._move_on(advance, look_again_at)

    def _move_on(self, advance: Advance, look_again_at: datetime) -> None:
        moved = advance.after
        self._put(moved, from_ms(to_ms(look_again_at)) if moved.is_held else moved.look_at)

    @may_fail
    async def unfinished_runs(self, before: Mapping[str, datetime]) -> Mapping[str, Sequence[str]]:
        runs: dict[str, list[str]] = {}
        for job in sorted(self._jobs.jobs.values(), key=lambda job: job.fire_time or job.due_at):
            if job.schedule_id is None or job.fire_time is None or job.state in FINAL_STATES:
                continue
            if job.schedule_id in before and job.fire_time < before[job.schedule_id]:
                runs.setdefault(job.schedule_id, []).append(job.id)
        return runs

    # -- inside

    def _stands(self, before: Schedule) -> bool:
        stored = self.schedules.get(before.id)
        return stored is not None and _mark(stored) == _mark(before)

    def _put(self, schedule: Schedule, look_at: datetime | None) -> None:
        self.schedules[schedule.id] = schedule
        self.looks.pop(schedule.id, None)
        if look_at is not None:
            self.looks[schedule.id] = look_at


def _mark(schedule: Schedule) -> tuple[int, datetime | None, bool]:
    """What a write about a schedule names of it: owners change the first, fires the others."""
    return schedule.version, schedule.next_fire_at, schedule.is_held


def _position(schedule: Schedule) -> Position:
    return schedule.created_at, schedule.id
