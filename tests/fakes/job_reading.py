"""What is read of jobs, in memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pipeline.domain.execution import Execution
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import JobFilter, JobIds, Page, Place, Position, Standing
from tests.fakes.faults import may_fail
from tests.fakes.job_collections import JobCollections


class ReadJobs(JobCollections):
    """Lists, counts, records, what stands under a key."""

    @may_fail
    async def get(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    @may_fail
    async def get_many(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        return {job_id: self.jobs[job_id] for job_id in job_ids if job_id in self.jobs}

    @may_fail
    async def places(self, job_ids: Sequence[str]) -> Sequence[Place]:
        found = (await self.get_many(job_ids)).values()
        return [Place(job.id, job.queue, job.state) for job in found]

    @may_fail
    async def standing(self, job_ids: Sequence[str]) -> Mapping[str, Standing]:
        return {
            job_id: Standing(
                self.prints[job_id],
                self.jobs[job_id].state if job_id in self.jobs else State.BURIED,
            )
            for job_id in job_ids
            if job_id in self.prints
        }

    @may_fail
    async def list(self, wanted: JobFilter, limit: int, after: Position | None) -> Page:
        jobs, next_after = self._page(wanted, limit, after)
        return Page(jobs, next_after)

    @may_fail
    async def list_ids(self, wanted: JobFilter, limit: int, after: Position | None) -> JobIds:
        jobs, next_after = self._page(wanted, limit, after)
        return JobIds([job.id for job in jobs], next_after)

    def _page(
        self, wanted: JobFilter, limit: int, after: Position | None
    ) -> tuple[Sequence[Job], Position | None]:
        jobs = [
            job
            for job in self.jobs.values()
            if wanted.covers(job) and (after is None or _position(job) < after)
        ]
        jobs.sort(key=_position, reverse=True)
        page = jobs[:limit]
        return page, _position(page[-1]) if len(jobs) > limit else None

    @may_fail
    async def executions(
        self, job_id: str, after: int = 0, limit: int = 500
    ) -> Sequence[Execution]:
        records = [
            r
            for r in self.records.values()
            if r.job_id == job_id and after < r.attempt <= after + limit
        ]
        return sorted(records, key=lambda record: record.attempt)

    @may_fail
    async def executions_by_id(
        self, ids: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], Execution]:
        found = {(r.job_id, r.attempt): r for r in self.records.values()}
        return {key: found[key] for key in ids if key in found}

    @may_fail
    async def counts(self) -> Mapping[State, int]:
        return {
            state: sum(job.state is state for job in self.jobs.values())
            for state in State
            if state is not State.BURIED
        }

    # -- reconcile

    @may_fail
    async def queued_jobs(
        self, since: datetime | None, until: datetime, after: Position | None, limit: int
    ) -> Sequence[Job]:
        found = [
            (job.queued_at, job.id, job)
            for job in self.jobs.values()
            if job.state is State.QUEUED
            and job.queued_at is not None
            and (since is None or since <= job.queued_at)
            and job.queued_at < until
        ]
        return _after(found, after, limit)

    @may_fail
    async def running_jobs(
        self, started_before: datetime, after: Position | None, limit: int
    ) -> Sequence[Job]:
        found = [
            (job.started_at, job.id, job)
            for job in self.jobs.values()
            if job.state is State.RUNNING
            and job.started_at is not None
            and job.started_at < started_before
        ]
        return _after(found, after, limit)


def _position(job: Job) -> Position:
    return job.created_at, job.id


def _after(
    found: list[tuple[datetime, str, Job]], after: Position | None, limit: int
) -> Sequence[Job]:
    found.sort(key=lambda row: row[:2])
    return [job for at, job_id, job in found if after is None or (at, job_id) > after][:limit]
