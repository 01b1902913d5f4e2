"""What owners and retention write about jobs, in memory."""

from collections.abc import Sequence
from datetime import timedelta

from pipeline.domain.job import Job
from pipeline.domain.states import Event, State, sources_of, target_of
from pipeline.ports import JobFilter
from tests.fakes.faults import may_fail
from tests.fakes.job_collections import JobCollections


class OwnedJobs(JobCollections):
    """Cancel, change, hasten, redrive, bury: one and many; and what is buried when it is old."""

    @may_fail
    async def cancel_waiting(self, job_id: str, before: Job | None = None) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.state not in sources_of(Event.CANCEL) - {State.RUNNING}:
            return False
        if not _stands(job, before):
            return False
        self._put(job, state=State.CANCELLED, finished_at=self._now())
        return True

    @may_fail
    async def change(self, before: Job, after: Job) -> bool:
        stands = self.jobs.get(before.id)
        if stands is None or _read_of(stands) != _read_of(before):
            return False
        self.known_queues.add(after.queue)
        self._put(
            stands,
            state=target_of(Event.CHANGE),
            spec=after.spec,
            body=after.body,
            due_at=after.due_at,
            expires_at=after.expires_at,
        )
        return True

    @may_fail
    async def hasten(self, job_id: str, before: Job | None = None) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.state not in sources_of(Event.CHANGE):
            return False
        if job.due_at <= self._now() or not _stands(job, before):
            return False
        self._put(job, state=target_of(Event.CHANGE), due_at=self._now())
        return True

    @may_fail
    async def redrive(self, job_id: str, before: Job | None = None) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.state not in sources_of(Event.REDRIVE):
            return False
        if not _stands(job, before):
            return False
        self._redrive(job)
        return True

    def _redrive(self, job: Job) -> None:
        self._put(
            job,
            state=target_of(Event.REDRIVE),
            due_at=self._now(),
            failures=0,
            losses=0,
            reason=None,
            finished_at=None,
            expires_at=None,
        )

    @may_fail
    async def cancel_waiting_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        moved = self._still(job_ids, wanted, sources_of(Event.CANCEL) - {State.RUNNING})
        for job in moved:
            self._put(job, state=State.CANCELLED, finished_at=self._now())
        return len(moved)

    @may_fail
    async def redrive_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        moved = self._still(job_ids, wanted, sources_of(Event.REDRIVE))
        for job in moved:
            self._redrive(job)
        return len(moved)

    @may_fail
    async def bury_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        moved = self._still(job_ids, wanted, sources_of(Event.BURY))
        for job in moved:
            self._bury(job)
        return len(moved)

    def _still(
        self, job_ids: Sequence[str], wanted: JobFilter, states: frozenset[State]
    ) -> Sequence[Job]:
        there = [self.jobs[job_id] for job_id in job_ids if job_id in self.jobs]
        return [job for job in there if job.state in states and wanted.covers(job)]

    @may_fail
    async def bury_ended(self, state: State, older_than: timedelta, limit: int) -> int:
        before = self._clock.now() - older_than
        ended = [
            job
            for job in self.jobs.values()
            if job.state is state and job.finished_at is not None and job.finished_at < before
        ][:limit]
        for job in ended:
            self._bury(job)
        return len(ended)

    @may_fail
    async def bury(self, job_id: str, before: Job | None = None) -> bool:
        job = self.jobs.get(job_id)
        if job is None:
            return job_id in self.tombs
        if job.state not in sources_of(Event.BURY) or not _stands(job, before):
            return False
        self._bury(job)
        return True

    def _bury(self, job: Job) -> None:
        self.tombs[job.id] = self._now()
        del self.jobs[job.id]
        self._forget_executions(job.id)

    def _forget_executions(self, job_id: str) -> None:
        for record in [r for r in self.records.values() if r.job_id == job_id]:
            del self.records[record.id]

    @may_fail
    async def sweep_buried(self, older_than: timedelta, limit: int) -> int:
        before = self._clock.now() - older_than
        old = [job_id for job_id, at in self.tombs.items() if at < before][:limit]
        for job_id in old:
            self._forget_executions(job_id)
            del self.tombs[job_id]
            self.prints.pop(job_id, None)
        return len(old)


def _stands(job: Job, before: Job | None) -> bool:
    return before is None or _read_of(job) == _read_of(before)


def _read_of(job: Job) -> tuple[object, ...]:
    """What a change was made from."""
    return job.state, job.attempt, job.due_at, job.body
