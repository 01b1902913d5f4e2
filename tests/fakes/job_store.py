"""The truth in memory, with the same answers as MongoDB (tests/adapters/test_job_store.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pipeline.domain.execution import LATE, Execution, Outcome, late_note
from pipeline.domain.identity import fingerprint
from pipeline.domain.instants import from_ms, to_ms
from pipeline.domain.job import Entry, Job, Submission
from pipeline.domain.limits import NO_LIMIT, Limit
from pipeline.domain.states import TRANSITIONS, Event, State, sources_of, target_of
from pipeline.ports import Attempt, Claim, Stored
from tests.fakes.faults import may_fail
from tests.fakes.job_owners import OwnedJobs
from tests.fakes.job_reading import ReadJobs


class FakeJobStore(OwnedJobs, ReadJobs):
    """`fail` makes the next call of a method fail; `down` every call."""

    # -- ingest

    @may_fail
    async def insert(self, submissions: Sequence[Submission], now: datetime) -> Sequence[Stored]:
        return [self._insert(submission, now) for submission in submissions]

    def _insert(self, submission: Submission, now: datetime) -> Stored:
        if submission.id in self.jobs or submission.id in self.tombs:
            return self._met(submission)
        due = submission.due_at <= now
        self.known_queues.add(submission.spec.queue)
        if submission.keyed:
            self.prints[submission.id] = fingerprint(submission.body)
        self.jobs[submission.id] = Job(
            id=submission.id,
            spec=submission.spec,
            body=submission.body,
            state=State.QUEUED if due else State.PENDING,
            due_at=submission.due_at,
            created_at=from_ms(to_ms(submission.accepted_at)),
            queued_at=from_ms(to_ms(now)) if due else None,
            expires_at=submission.spec.expires_at,
            schedule_id=submission.schedule_id,
            fire_time=submission.fire_time,
            traceparent=submission.traceparent,
        )
        return Stored.NEW

    def _met(self, submission: Submission) -> Stored:
        if not submission.keyed:
            return Stored.KNOWN
        if self.prints.get(submission.id) != fingerprint(submission.body):
            return Stored.OTHER
        return Stored.DELETED if submission.id in self.tombs else Stored.KNOWN

    # -- dispatch and expiry

    @may_fail
    async def dispatch(self, lookahead: timedelta, limit: int) -> Sequence[Entry]:
        due = [
            job for job in self._in(Event.DISPATCH) if job.due_at <= self._clock.now() + lookahead
        ]
        due.sort(key=lambda job: job.due_at)
        return [
            self._put(job, state=target_of(Event.DISPATCH), queued_at=self._now()).entry
            for job in due[:limit]
        ]

    @may_fail
    async def expire(self, limit: int) -> Sequence[str]:
        late = [job for job in self._in(Event.EXPIRE) if self._is_expired(job)][:limit]
        for job in late:
            self._put(
                job,
                state=target_of(Event.EXPIRE),
                reason="expired",
                finished_at=self._now(),
            )
        return [job.id for job in late]

    def _is_expired(self, job: Job) -> bool:
        return job.expires_at is not None and job.expires_at <= self._clock.now()

    # -- start, end, settle

    @may_fail
    async def start(self, job_ids: Sequence[str], claim: Claim) -> Sequence[Job]:
        for job_id in job_ids:
            job = self.jobs.get(job_id)
            if job is not None and _may_start(job, claim):
                self._put(
                    job,
                    state=target_of(Event.START),
                    attempt=job.attempt + 1,
                    lease_id=claim.lease_id,
                    worker=claim.worker,
                    started_at=from_ms(to_ms(claim.started_at)),
                )
        return [
            job
            for job_id in job_ids
            if (job := self.jobs.get(job_id)) is not None
            and job.state is State.RUNNING
            and job.lease_id == claim.lease_id
        ]

    @may_fail
    async def running(self, attempts: Sequence[Attempt]) -> frozenset[Attempt]:
        return frozenset(
            attempt
            for attempt in attempts
            if self._runs(attempt.job_id, attempt.attempt)
            and self.jobs[attempt.job_id].lease_id == attempt.lease_id
        )

    def _runs(self, job_id: str, attempt: int) -> bool:
        job = self.jobs.get(job_id)
        return job is not None and job.state is State.RUNNING and job.attempt == attempt

    @may_fail
    async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
        return [self._stand(execution) for execution in executions]

    def _stand(self, offered: Execution) -> Execution:
        stands = self.records.setdefault(offered.id, _at_ms(offered))
        if (note := late_note(stands, offered)) and LATE not in stands.report:
            self.records[offered.id] = replace(stands, report={**stands.report, LATE: note})
        return stands

    @may_fail
    async def settle(self, standing: Sequence[Execution]) -> None:
        for execution in standing:
            if self._runs(execution.job_id, execution.attempt):
                self._settle(self.jobs[execution.job_id], execution)

    def _settle(self, job: Job, execution: Execution) -> None:
        decision = execution.decision
        target = TRANSITIONS[State.RUNNING, decision.event]
        if job.lease_id != execution.lease_id:
            return
        change: dict[str, Any] = {"state": target}
        if target is State.PENDING:
            change["due_at"] = from_ms(to_ms(self._clock.now() + decision.delay))
        else:
            change["finished_at"] = self._now()
        if decision.reason is not None:
            change["reason"] = decision.reason
        if execution.outcome in (Outcome.FAILED, Outcome.TIMED_OUT):
            change["failures"] = job.failures + 1
        if execution.outcome is Outcome.LOST:
            change["losses"] = job.losses + 1
        self._put(job, **change)

    # -- queues and time

    @may_fail
    async def pause_queue(self, queue: str) -> None:
        self.known_queues.add(queue)
        self.paused.add(queue)

    @may_fail
    async def resume_queue(self, queue: str) -> None:
        self.paused.discard(queue)

    @may_fail
    async def paused_queues(self) -> frozenset[str]:
        return frozenset(self.paused)

    @may_fail
    async def limit_queue(self, queue: str, limit: Limit, before: Limit | None = None) -> bool:
        if before is not None and self.limits.get(queue, NO_LIMIT) != before:
            return False
        self.known_queues.add(queue)
        self.limits = {name: each for name, each in self.limits.items() if name != queue}
        self.limits |= {} if limit.is_none else {queue: limit}
        return True

    @may_fail
    async def limited_queues(self) -> Mapping[str, Limit]:
        return self.limits

    @may_fail
    async def active_queues(self) -> frozenset[str]:
        return frozenset(self.known_queues)

    async def server_time(self) -> datetime:
        return self._now()


def _may_start(job: Job, claim: Claim) -> bool:
    expires_at = job.expires_at
    return (
        job.state in sources_of(Event.START)
        and job.queue == claim.queue
        and job.due_at <= claim.judged_at
        and (expires_at is None or expires_at > claim.judged_at)
    )


def _at_ms(execution: Execution) -> Execution:
    """MongoDB keeps milliseconds."""
    return replace(
        execution,
        queued_at=_cut(execution.queued_at),
        started_at=_cut(execution.started_at),
        finished_at=from_ms(to_ms(execution.finished_at)),
    )


def _cut(instant: datetime | None) -> datetime | None:
    return None if instant is None else from_ms(to_ms(instant))
