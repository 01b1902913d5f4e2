"""The reaper: leases that ran out (R9).

Redis says only that a lease is out; what that means, the document says. `queued`: it was leased and
never started, back to ready. `running`: its worker vanished, the attempt is lost. Anything else: an
acknowledgement that never came. Moving and removing do nothing unless the very same expired lease
is still there (H12), and the record of the attempt is the referee, so any number of reapers may run
beside the living worker itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pipeline.domain.errors import Unavailable
from pipeline.domain.execution import ErrorInfo, Execution, Lost, conclude
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ending import end, told_by
from pipeline.ports import (
    NOTHING_TOLD,
    Chance,
    Clock,
    Death,
    ExpiredLease,
    Incarnation,
    JobStore,
    LeaseQueue,
    LiveNotes,
)
from pipeline.telemetry import REAPED, log
from pipeline.watchers.loop import Loop

_BATCH = 250

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class _Sighting:
    """The same Redis, seen at every look from `since` to `last` (monotonic)."""

    incarnation: Incarnation
    since: float
    last: float


class Reaper:
    """Reaps a queue only after it has seen the same Redis for one `lease` (H21)."""

    def __init__(
        self,
        store: JobStore,
        queue: LeaseQueue,
        clock: Clock,
        lease: timedelta,
        notes: LiveNotes = NOTHING_TOLD,
    ) -> None:
        self._notes = notes
        self._store = store
        self._queue = queue
        self._clock = clock
        self._lease = lease.total_seconds()
        self._seen: dict[str, _Sighting] = {}

    def loop(self, chance: Chance) -> Loop:
        """The loop that runs it: some six times a lease, at most every five seconds."""
        period = timedelta(seconds=min(5.0, self._lease / 4))
        return Loop("reaper", self.step, period, self._clock, chance)

    async def step(self) -> None:
        """One look at every queue."""
        for name in sorted(await self._queue.queues()):
            if await self._is_settled(name):
                await self._reap(name)

    async def _is_settled(self, name: str) -> bool:
        """After an outage of Redis every lease has run out; the living need time to extend.

        Out of reach for a while and then the same as before is an outage too: it shows as a gap
        between our looks. Half a lease of it harms nobody, heartbeats are a third apart.
        """
        incarnation = await self._queue.incarnation(name)
        now = self._clock.monotonic()
        seen = self._seen.get(name)
        if seen is None or seen.incarnation != incarnation or now - seen.last > self._lease / 2:
            seen = _Sighting(incarnation, now, now)
        self._seen[name] = replace(seen, last=now)
        return incarnation.generation is not None and now - seen.since >= self._lease

    async def _reap(self, name: str) -> None:
        while expired := await self._queue.expired(name, _BATCH):
            jobs = await self._store.get_many([lease.job_id for lease in expired])
            same = await self._still_expired(name, expired)
            await self._requeue(name, same, jobs)
            await self._drop(name, same, jobs)
            if len(expired) < _BATCH:
                return

    async def _still_expired(
        self, name: str, expired: Sequence[ExpiredLease]
    ) -> Sequence[ExpiredLease]:
        """Those that were out before the documents were read and are out after it.

        Were we held up in between, others have reaped, and a job we read as `running` may be its
        next attempt under a living lease: it would be lost for nothing.
        """
        still = set(await self._queue.expired(name, _BATCH))
        return [lease for lease in expired if lease in still]

    async def _requeue(
        self, name: str, expired: Sequence[ExpiredLease], jobs: Mapping[str, Job]
    ) -> None:
        """Leased, never started: back to where it was."""
        waiting = [lease for lease in expired if _waits_in(name, jobs.get(lease.job_id))]
        if waiting:
            moves = [(lease, jobs[lease.job_id].entry) for lease in waiting]
            moved = await self._queue.requeue(name, moves)
            REAPED.labels("requeued").inc(moved)

    async def _drop(
        self, name: str, expired: Sequence[ExpiredLease], jobs: Mapping[str, Job]
    ) -> None:
        """Lost or over: first the truth, then the member."""
        others = [lease for lease in expired if not _waits_in(name, jobs.get(lease.job_id))]
        running = [
            jobs[lease.job_id]
            for lease in others
            if lease.job_id in jobs and jobs[lease.job_id].state is State.RUNNING
        ]
        await lose(running, self._store, self._queue, self._clock, self._notes)
        REAPED.labels("dropped").inc(await self._queue.drop(name, others) if others else 0)


async def lose(
    jobs: Sequence[Job],
    store: JobStore,
    queue: LeaseQueue,
    clock: Clock,
    notes: LiveNotes = NOTHING_TOLD,
) -> Sequence[Execution]:
    """Insert `lost` for these running attempts and settle by what stands, whoever wrote it.

    What they told last is in `notes`; it was for their worker to record it.
    """
    if not jobs:
        return []
    deaths = await _deaths(jobs, queue)
    told = await told_by(jobs, notes)
    records = [
        conclude(
            job,
            _lost(job, deaths.get(job.worker or ""), told.get(job.id, {})),
            finished_at=clock.now(),
            lot=0.0,
        )
        for job in jobs
    ]
    standing = await end(records, [], store, queue)
    for record in standing:
        _log.info(
            "attempt.reaped", job=record.job_id, attempt=record.attempt, outcome=record.outcome
        )
    REAPED.labels("lost").inc(len(standing))
    return standing


async def _deaths(jobs: Sequence[Job], queue: LeaseQueue) -> Mapping[str, Death]:
    """The evidence, as far as there is any: a loss must not wait for it."""
    try:
        return await queue.deaths(sorted({job.worker for job in jobs if job.worker}))
    except Unavailable:
        return {}


def _lost(job: Job, death: Death | None, told: dict[str, Any]) -> Lost:
    """Who ran beside the job that took the worker down is lost with it, on the same evidence."""
    if death is None:
        text = f"worker {job.worker} was silent for longer than its lease"
        return Lost(ErrorInfo("lost", text), told)
    report: dict[str, Any] = {"worker_pid": death.pid, "worker_host": death.host} | told
    if death.signal is not None:
        how = f"was killed by {death.signal}"
        report["worker_signal"] = death.signal
    else:
        how = f"ended with exit code {death.exit_code}"
        report["worker_exit_code"] = death.exit_code
    error = ErrorInfo("lost", f"worker {job.worker} {how} while it ran this", death.log or None)
    return Lost(error, report)


def _waits_in(name: str, job: Job | None) -> bool:
    return job is not None and job.is_queued_in(name)
