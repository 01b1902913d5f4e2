"""A pipeline in memory with schedules, and watchers to whom things happen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from pipeline.domain.execution import Succeeded
from pipeline.domain.firing import SkipReason
from pipeline.domain.identity import id_of_fire
from pipeline.domain.job import Job
from pipeline.domain.schedule import Schedule
from pipeline.domain.states import State
from pipeline.ports import JobStore, LeaseQueue, ScheduleStore
from pipeline.watchers.scheduler import Scheduler
from tests.fakes.clock import SeededChance
from tests.fakes.interposed import interposed
from tests.fakes.live_notes import FakeLiveNotes
from tests.fakes.schedule_store import FakeScheduleStore
from tests.fakes.world import World as Jobs
from tests.schedules import a_schedule


class World(Jobs):
    """With schedules."""

    def __init__(self) -> None:
        super().__init__()
        self.schedules = FakeScheduleStore(self.store, self.clock)
        self.notes = FakeLiveNotes()

    def scheduler(
        self,
        *,
        schedules: ScheduleStore | None = None,
        jobs: JobStore | None = None,
        queue: LeaseQueue | None = None,
    ) -> Scheduler:
        """A watcher's, whole or with something interposed."""
        return Scheduler(
            schedules or self.schedules,
            jobs or self.store,
            queue or self.queue,
            self.clock,
            self.notes,
        )

    def interposed(self, port: str, method: str, **around: Any) -> Scheduler:
        """A watcher to whom something happens around one call."""
        mine: dict[str, Any] = {
            "schedules": self.schedules, "jobs": self.store, "queue": self.queue,
        }  # fmt: skip
        return self.scheduler(**{port: interposed(mine[port], method, **around)})

    async def scheduled(self, **body: Any) -> Schedule:
        schedule = a_schedule(at=self.now, **body)
        assert await self.schedules.insert_schedule(schedule)
        return schedule

    async def again(self, schedule: Schedule) -> Schedule:
        found = await self.schedules.get_schedule(schedule.id)
        assert found is not None
        return found

    async def at(self, instant: datetime, scheduler: Scheduler | None = None) -> None:
        """Move on to an instant and let a watcher look."""
        self.clock.advance((instant - self.now).total_seconds())
        await (scheduler or self.scheduler()).step()

    def runs(self, schedule: Schedule) -> list[datetime]:
        """The fire times that have a job."""
        made = [job for job in self.store.jobs.values() if job.schedule_id == schedule.id]
        assert {job.id for job in made} == {
            id_of_fire(schedule.id, job.fire_time) for job in made if job.fire_time
        }
        return sorted(job.fire_time for job in made if job.fire_time)

    def run_of(self, schedule: Schedule, fire_time: datetime) -> Job:
        return self.store.jobs[id_of_fire(schedule.id, fire_time)]

    async def skips(self, schedule: Schedule) -> dict[datetime, SkipReason]:
        skipped = await self.schedules.skipped(schedule.id, 1000, None)
        return {skip.first: skip.reason for skip in skipped}

    async def end_runs(self) -> None:
        """A dispatcher and a reconciler pass, and a worker ends all that is waiting or running."""
        await self.dispatched()
        waiting = [job for job in self.store.jobs.values() if job.state is State.QUEUED]
        await self.queue.restore([job.entry for job in waiting])
        await self.run(self.chance.token())
        for job in list(self.store.jobs.values()):
            if job.state is State.RUNNING:
                await self.ended(job, Succeeded())


@asynccontextmanager
async def watching(world: World, *, watchers: int = 1) -> AsyncIterator[None]:
    """Their loops run."""
    loops = [world.scheduler().loop(SeededChance(seed)) for seed in range(watchers)]
    running = [asyncio.ensure_future(loop.run()) for loop in loops]
    yield
    for loop in loops:
        loop.stop()
    await asyncio.gather(*running)
