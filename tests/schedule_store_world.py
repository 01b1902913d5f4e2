"""Schedules stored in memory or in MongoDB, and the clock that they reckon by."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.domain.schedule import Schedule
from pipeline.ports import JobStore, ScheduleStore
from pipeline.store.job_store import MongoJobStore
from tests.fakes.clock import START, ManualClock, SeededChance
from tests.fakes.job_store import FakeJobStore
from tests.fakes.schedule_store import FakeScheduleStore
from tests.schedules import a_schedule


@dataclass
class World:
    """Schedules and jobs, and the clock that they reckon by."""

    store: ScheduleStore
    jobs: JobStore
    clock: ManualClock

    async def stored(self, *, at: datetime = START, **body: Any) -> Schedule:
        schedule = a_schedule(at=at, **body)
        assert await self.store.insert_schedule(schedule)
        return schedule

    async def again(self, schedule: Schedule) -> Schedule:
        """As it stands."""
        found = await self.store.get_schedule(schedule.id)
        assert found is not None
        return found

    async def seen_at(self, instant: datetime) -> set[str]:
        return {each.id for each in await self.store.schedules_to_look_at(instant, 10)}

    async def fired(self, schedule: Schedule, fire_time: datetime) -> str:
        """The job of a fire time."""
        now = self.clock.now()
        submission = schedule.submission(fire_time, fire_time, 5, now)
        await self.jobs.insert([submission], now)
        return submission.id


@asynccontextmanager
async def a_world(kind: str, mongo_url: str) -> AsyncIterator[World]:
    """`fake`, or `mongodb` at this URL."""
    clock = ManualClock()
    if kind == "fake":
        fake = FakeJobStore(clock)
        yield World(FakeScheduleStore(fake, clock), fake, clock)
        return
    jobs = MongoJobStore(mongo_url, clock, SeededChance(1), timedelta(seconds=10))
    await jobs.prepare()
    yield World(jobs.schedules, jobs, clock)
    jobs.close()
