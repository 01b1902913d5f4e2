"""A whole pipeline in memory: the fakes on one clock, and what the actors do with them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pipeline.domain.execution import Ending, Execution, Outcome, conclude
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ending import end
from pipeline.ports import Claim, Grant, Lease
from tests.builders import a_submission
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.job_store import FakeJobStore
from tests.fakes.lease_queue import FakeLeaseQueue

LEASE = timedelta(seconds=30)
LOOKAHEAD = timedelta(seconds=2)


class World:
    """MongoDB and Redis, and the steps of ingest, dispatcher and worker, one at a time."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.chance = SeededChance(1)
        self.store = FakeJobStore(self.clock)
        self.queue = FakeLeaseQueue(self.clock)

    @property
    def now(self) -> datetime:
        """The instant."""
        return self.clock.now()

    # -- ingest and dispatcher

    async def stored(self, **body: Any) -> str:
        """A job in MongoDB alone: whoever stored it died before it told Redis."""
        submission = a_submission(at=self.now, **body)
        await self.store.insert([submission], self.now)
        return submission.id

    async def ready(self, **body: Any) -> str:
        """A job that is due, in both."""
        job_id = await self.stored(**body)
        await self.queue.add([(await self.job(job_id)).entry])
        return job_id

    async def dispatched(self) -> None:
        """One healthy pass of a dispatcher."""
        await self.queue.add(await self.store.dispatch(LOOKAHEAD, 100))

    # -- worker

    async def leased(
        self, lease_id: str, *, worker: str = "worker-1", queue: str = "default"
    ) -> Grant:
        """A lease call."""
        return await self.queue.lease(queue, worker=worker, lease_id=lease_id, limit=10, ttl=LEASE)

    async def started(
        self, grant: Grant, lease_id: str, *, worker: str = "worker-1", queue: str = "default"
    ) -> Sequence[Job]:
        """The starts that this grant wins."""
        claim = Claim(queue, lease_id, worker, grant.judged_at, self.now)
        return await self.store.start(grant.job_ids, claim)

    async def run(self, lease_id: str, *, worker: str = "worker-1") -> Sequence[Job]:
        """Lease and start what there is."""
        grant = await self.leased(lease_id, worker=worker)
        return await self.started(grant, lease_id, worker=worker)

    async def dispatched_and_run(
        self, lease_id: str = "l1", queue: str = "default"
    ) -> Sequence[str]:
        """A dispatcher's pass and a worker's: the ids that it won."""
        await self.dispatched()
        grant = await self.leased(lease_id, queue=queue)
        return [job.id for job in await self.started(grant, lease_id, queue=queue)]

    async def running(self, lease_id: str = "lease-1", **body: Any) -> Job:
        """A fresh job that `worker-1` runs under this lease."""
        await self.ready(**body)
        (job,) = await self.run(lease_id)
        return job

    async def ended(self, job: Job, ending: Ending) -> Execution:
        """Its worker ends it; the record that stands."""
        record = conclude(job, ending, finished_at=self.now, lot=0.5)
        (standing,) = await end([record], [Lease.of(job)], self.store, self.queue)
        return standing

    # -- looking

    async def job(self, job_id: str) -> Job:
        """The job as MongoDB has it."""
        job = await self.store.get(job_id)
        assert job is not None
        return job

    async def state(self, job_id: str) -> State:
        """Its state."""
        return (await self.job(job_id)).state

    async def outcomes(self, job_id: str) -> list[Outcome]:
        """How its attempts have ended."""
        return [record.outcome for record in await self.store.executions(job_id)]

    def is_waiting(self, job_id: str, queue: str = "default") -> bool:
        """Whether Redis has it in ready or delayed."""
        part = self.queue.part(queue)
        return job_id in part.ready or job_id in part.delayed

    def is_leased(self, job_id: str, queue: str = "default") -> bool:
        """Whether Redis has it in leased."""
        return job_id in self.queue.part(queue).leased
