"""A store of jobs, fake or real, with a clock that stands still, and what others do to its jobs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pipeline.clock import StoreClock
from pipeline.domain.execution import ErrorInfo, Failed, conclude
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import JobStore
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_claim, a_submission
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.job_store import FakeJobStore


@dataclass
class World:
    """A store and the clock that it reckons by."""

    store: JobStore
    clock: ManualClock

    @property
    def now(self) -> datetime:
        return self.clock.now()

    async def queued(self, **body: Any) -> str:
        """A job that waits to be started."""
        submission = a_submission(at=self.now, **body)
        await self.store.insert([submission], self.now)
        return submission.id

    async def started(self, lease_id: str = "lease-1", **body: Any) -> Job:
        job_id = await self.queued(**body)
        return await self.start(job_id, lease_id)

    async def start(self, job_id: str, lease_id: str = "lease-1", queue: str = "default") -> Job:
        claim = a_claim(queue=queue, lease_id=lease_id, at=self.now)
        (job,) = await self.store.start([job_id], claim)
        return job

    async def end(self, job: Job, ending: Any, lot: float = 0.5) -> None:
        record = conclude(job, ending, finished_at=self.now, lot=lot)
        await self.store.settle(await self.store.record([record]))

    async def job(self, job_id: str) -> Job:
        job = await self.store.get(job_id)
        assert job is not None
        return job

    async def state(self, job_id: str) -> State:
        return (await self.job(job_id)).state


async def a_dead_job(store: JobStore, now: datetime, **body: Any) -> str:
    """One whose only attempt has failed for good."""
    submission = a_submission(at=now, **body)
    await store.insert([submission], now)
    (job,) = await store.start([submission.id], a_claim(at=now))
    boom = Failed(ErrorInfo("Boom", "it broke", "a traceback"), retryable=False)
    record = conclude(job, boom, finished_at=now, lot=0.5)
    await store.settle(await store.record([record]))
    return submission.id


@asynccontextmanager
async def a_mongodb_world(
    url: str, kind: type[MongoJobStore] = MongoJobStore
) -> AsyncIterator[World]:
    """MongoDB; the clock stands at MongoDB's time."""
    store = kind(url, StoreClock(), SeededChance(1), timedelta(seconds=10))
    now = await store.server_time()
    store.close()
    manual = ManualClock(now)
    store = kind(url, manual, SeededChance(1), timedelta(seconds=10))
    await store.prepare()
    yield World(store, manual)
    store.close()


@asynccontextmanager
async def a_world(kind: Literal["fake", "mongodb"], url: str) -> AsyncIterator[World]:
    """One of the two: what runs on both must come to the same."""
    if kind == "fake":
        clock = ManualClock()
        yield World(FakeJobStore(clock), clock)
    else:
        async with a_mongodb_world(url) as world:
            yield world
