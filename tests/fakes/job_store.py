"""The truth in memory, with the same answers as MongoDB (tests/adapters/test_job_store.py)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.execution import LATE, Execution, Outcome, late_note
from pipeline.domain.identity import fingerprint
from pipeline.domain.instants import from_ms, to_ms
from pipeline.domain.job import Entry, Job, Submission
from pipeline.domain.limits import Limit
from pipeline.domain.states import TRANSITIONS, Event, State, sources_of, target_of
from pipeline.ports import (
    Attempt,
    Claim,
    Clock,
    JobFilter,
    JobIds,
    Page,
    Position,
    Standing,
    Stored,
)


class FakeJobStore:
    """One dictionary a collection. `fail` makes the next call of a method fail."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.jobs: dict[str, Job] = {}
        self.tombs: dict[str, tuple[datetime, str | None]] = {}
        self.prints: dict[str, str] = {}
        self.records: dict[str, Execution] = {}
        self.paused: set[str] = set()
        self.limits: dict[str, Limit] = {}
        self.known_queues: set[str] = set()
        self.down = False
        self._failing: list[tuple[str, bool]] = []

    def fail(self, method: str, *, applied: bool) -> None:
        """The next call of `method` has an unknown outcome: applied before it failed, or not."""
        self._failing.append((method, applied))

    @contextmanager
    def _call(self, method: str) -> Iterator[None]:
        if self.down:
            raise Unavailable("MongoDB", "it is down")
        for failure in self._failing:
            if failure[0] == method:
                self._failing.remove(failure)
                if failure[1]:
                    yield
                raise UnknownOutcome("MongoDB", "the connection was lost")
        yield

    def _now(self) -> datetime:
        return from_ms(to_ms(self._clock.now()))

    # -- ingest

    async def insert(self, submissions: Sequence[Submission], now: datetime) -> Sequence[Stored]:
        with self._call("insert"):
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

    async def dispatch(self, lookahead: timedelta, limit: int) -> Sequence[Entry]:
        with self._call("dispatch"):
            due = [
                job
                for job in self._in(Event.DISPATCH)
                if job.due_at <= self._clock.now() + lookahead
            ]
            due.sort(key=lambda job: job.due_at)
            return [
                self._put(job, state=target_of(Event.DISPATCH), queued_at=self._now()).entry
                for job in due[:limit]
            ]

    async def expire(self, limit: int) -> Sequence[str]:
        with self._call("expire"):
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

    async def start(self, job_ids: Sequence[str], claim: Claim) -> Sequence[Job]:
        with self._call("start"):
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

    async def running(self, attempts: Sequence[Attempt]) -> frozenset[Attempt]:
        with self._call("running"):
            return frozenset(
                attempt
                for attempt in attempts
                if self._runs(attempt.job_id, attempt.attempt)
                and self.jobs[attempt.job_id].lease_id == attempt.lease_id
            )

    def _runs(self, job_id: str, attempt: int) -> bool:
        job = self.jobs.get(job_id)
        return job is not None and job.state is State.RUNNING and job.attempt == attempt

    async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
        with self._call("record"):
            return [self._stand(execution) for execution in executions]

    def _stand(self, offered: Execution) -> Execution:
        stands = self.records.setdefault(offered.id, _at_ms(offered))
        if (note := late_note(stands, offered)) and LATE not in stands.report:
            self.records[offered.id] = replace(stands, report={**stands.report, LATE: note})
        return stands

    async def settle(self, standing: Sequence[Execution]) -> None:
        with self._call("settle"):
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

    # -- operators

    async def cancel_waiting(self, job_id: str, before: Job | None = None) -> bool:
        with self._call("cancel_waiting"):
            job = self.jobs.get(job_id)
            if job is None or job.state not in sources_of(Event.CANCEL) - {State.RUNNING}:
                return False
            if not _stands(job, before):
                return False
            self._put(job, state=State.CANCELLED, finished_at=self._now())
            return True

    async def change(self, before: Job, after: Job) -> bool:
        with self._call("change"):
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

    async def hasten(self, job_id: str, before: Job | None = None) -> bool:
        with self._call("hasten"):
            job = self.jobs.get(job_id)
            if job is None or job.state not in sources_of(Event.CHANGE):
                return False
            if job.due_at <= self._now() or not _stands(job, before):
                return False
            self._put(job, state=target_of(Event.CHANGE), due_at=self._now())
            return True

    async def redrive(self, job_id: str, before: Job | None = None) -> bool:
        with self._call("redrive"):
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

    async def cancel_waiting_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        with self._call("cancel_waiting_many"):
            moved = self._still(job_ids, wanted, sources_of(Event.CANCEL) - {State.RUNNING})
            for job in moved:
                self._put(job, state=State.CANCELLED, finished_at=self._now())
            return len(moved)

    async def redrive_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        with self._call("redrive_many"):
            moved = self._still(job_ids, wanted, sources_of(Event.REDRIVE))
            for job in moved:
                self._redrive(job)
            return len(moved)

    async def bury_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        with self._call("bury_many"):
            moved = self._still(job_ids, wanted, sources_of(Event.BURY))
            for job in moved:
                self._bury(job)
            return len(moved)

    def _still(
        self, job_ids: Sequence[str], wanted: JobFilter, states: frozenset[State]
    ) -> Sequence[Job]:
        there = [self.jobs[job_id] for job_id in job_ids if job_id in self.jobs]
        return [job for job in there if job.state in states and wanted.covers(job)]

    async def bury_ended(self, state: State, older_than: timedelta, limit: int) -> int:
        with self._call("bury_ended"):
            before = self._clock.now() - older_than
            ended = [
                job
                for job in self.jobs.values()
                if job.state is state and job.finished_at is not None and job.finished_at < before
            ][:limit]
            for job in ended:
                self._bury(job)
            return len(ended)

    async def bury(self, job_id: str, before: Job | None = None) -> bool:
        with self._call("bury"):
            job = self.jobs.get(job_id)
            if job is None:
                return job_id in self.tombs
            if job.state not in sources_of(Event.BURY) or not _stands(job, before):
                return False
            self._bury(job)
            return True

    def _bury(self, job: Job) -> None:
        self.tombs[job.id] = (self._now(), self.prints.get(job.id))
        del self.jobs[job.id]
        self._forget_executions(job.id)

    def _forget_executions(self, job_id: str) -> None:
        for record in [r for r in self.records.values() if r.job_id == job_id]:
            del self.records[record.id]

    async def sweep_buried(self, older_than: timedelta, limit: int) -> int:
        with self._call("sweep_buried"):
            before = self._clock.now() - older_than
            old = [job_id for job_id, (at, _) in self.tombs.items() if at < before][:limit]
            for job_id in old:
                self._forget_executions(job_id)
                del self.tombs[job_id]
                self.prints.pop(job_id, None)
            return len(old)

    # -- reading

    async def get(self, job_id: str) -> Job | None:
        with self._call("get"):
            return self.jobs.get(job_id)

    async def get_many(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        with self._call("get_many"):
            return {job_id: self.jobs[job_id] for job_id in job_ids if job_id in self.jobs}

    async def standing(self, job_ids: Sequence[str]) -> Mapping[str, Standing]:
        with self._call("standing"):
            return {
                job_id: Standing(
                    self.prints[job_id],
                    self.jobs[job_id].state if job_id in self.jobs else State.BURIED,
                )
                for job_id in job_ids
                if job_id in self.prints
            }

    async def list(self, wanted: JobFilter, limit: int, after: Position | None) -> Page:
        with self._call("list"):
            jobs, next_after = self._page(wanted, limit, after)
            return Page(jobs, next_after)

    async def list_ids(self, wanted: JobFilter, limit: int, after: Position | None) -> JobIds:
        with self._call("list_ids"):
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

    async def executions(
        self, job_id: str, after: int = 0, limit: int = 500
    ) -> Sequence[Execution]:
        with self._call("executions"):
            records = [
                r
                for r in self.records.values()
                if r.job_id == job_id and after < r.attempt <= after + limit
            ]
            return sorted(records, key=lambda record: record.attempt)

    async def executions_by_id(
        self, ids: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], Execution]:
        with self._call("executions_by_id"):
            found = {(r.job_id, r.attempt): r for r in self.records.values()}
            return {key: found[key] for key in ids if key in found}

    async def counts(self) -> Mapping[State, int]:
        with self._call("counts"):
            return {
                state: sum(job.state is state for job in self.jobs.values())
                for state in State
                if state is not State.BURIED
            }

    # -- reconcile

    async def queued_jobs(
        self, since: datetime | None, until: datetime, after: Position | None, limit: int
    ) -> Sequence[Job]:
        with self._call("queued_jobs"):
            found = [
                (job.queued_at, job.id, job)
                for job in self.jobs.values()
                if job.state is State.QUEUED
                and job.queued_at is not None
                and (since is None or since <= job.queued_at)
                and job.queued_at < until
            ]
            return _after(found, after, limit)

    async def running_jobs(
        self, started_before: datetime, after: Position | None, limit: int
    ) -> Sequence[Job]:
        with self._call("running_jobs"):
            found = [
                (job.started_at, job.id, job)
                for job in self.jobs.values()
                if job.state is State.RUNNING
                and job.started_at is not None
                and job.started_at < started_before
            ]
            return _after(found, after, limit)

    # -- queues and time

    async def pause_queue(self, queue: str) -> None:
        with self._call("pause_queue"):
            self.known_queues.add(queue)
            self.paused.add(queue)

    async def resume_queue(self, queue: str) -> None:
        with self._call("resume_queue"):
            self.paused.discard(queue)

    async def paused_queues(self) -> frozenset[str]:
        with self._call("paused_queues"):
            return frozenset(self.paused)

    async def limit_queue(self, queue: str, limit: Limit) -> None:
        with self._call("limit_queue"):
            self.known_queues.add(queue)
            self.limits = {name: each for name, each in self.limits.items() if name != queue}
            self.limits |= {} if limit.is_none else {queue: limit}

    async def limited_queues(self) -> Mapping[str, Limit]:
        with self._call("limited_queues"):
            return self.limits

    async def active_queues(self) -> frozenset[str]:
        with self._call("active_queues"):
            return frozenset(self.known_queues)

    async def server_time(self) -> datetime:
        return self._now()

    # -- inside

    def _in(self, event: Event) -> Sequence[Job]:
        return [job for job in self.jobs.values() if job.state in sources_of(event)]

    def _put(self, job: Job, **change: Any) -> Job:
        self.jobs[job.id] = replace(job, **change)
        return self.jobs[job.id]


def _may_start(job: Job, claim: Claim) -> bool:
    expires_at = job.expires_at
    return (
        job.state in sources_of(Event.START)
        and job.queue == claim.queue
        and job.due_at <= claim.judged_at
        and (expires_at is None or expires_at > claim.judged_at)
    )


def _stands(job: Job, before: Job | None) -> bool:
    return before is None or _read_of(job) == _read_of(before)


def _read_of(job: Job) -> tuple[object, ...]:
    """What a change was made from."""
    return job.state, job.attempt, job.due_at, job.body


def _position(job: Job) -> Position:
    return job.created_at, job.id


def _after(
    found: list[tuple[datetime, str, Job]], after: Position | None, limit: int
) -> Sequence[Job]:
    found.sort(key=lambda row: row[:2])
    return [job for at, job_id, job in found if after is None or (at, job_id) > after][:limit]


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
