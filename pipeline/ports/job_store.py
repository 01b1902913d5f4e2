"""MongoDB's jobs and executions: the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from pipeline.domain.execution import Execution
from pipeline.domain.job import Entry, Job, Kind, Submission
from pipeline.domain.limits import Limit
from pipeline.domain.states import State


class Stored(StrEnum):
    """What became of one job that was to be stored."""

    NEW = "new"
    """Stored now, by us."""
    KNOWN = "known"
    """It was there already, the same (redelivered, or submitted again under its key)."""
    OTHER = "other"
    """The id is taken by a job with another body; the first one stands (R2)."""
    DELETED = "deleted"
    """The key is that of a job with the same body that was deleted: there is no job of it."""
    REFUSED = "refused"
    """MongoDB will never take this document."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job is, without what it holds."""

    id: str
    queue: str
    state: State


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands under an idempotency key: the fingerprint of its body, and its state."""

    fingerprint: str
    state: State


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker brings to a start (R5). `judged_at` is the lease script's now."""

    queue: str
    lease_id: str
    worker: str
    judged_at: datetime
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, named: whoever writes about it says which."""

    job_id: str
    attempt: int
    lease_id: str

    @classmethod
    def of(cls, job: Job) -> "Attempt":
        """The last one of this job; where it has none, it matches no write and no read."""
        return cls(job.id, job.attempt, job.lease_id or "")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list asks for; empty means everything visible. `q` matches the start of the name."""

    states: frozenset[State] = frozenset()
    queue: str | None = None
    kind: Kind | None = None
    name: str | None = None
    tag: str | None = None
    schedule_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    q: str | None = None

    def covers(self, job: Job) -> bool:
        """Whether this job is among what is asked for."""
        name = job.spec.name
        return (
            (not self.states or job.state in self.states)
            and self.queue in (None, job.queue)
            and self.kind in (None, job.spec.kind)
            and self.name in (None, name)
            and (self.tag is None or self.tag in job.spec.tags)
            and self.schedule_id in (None, job.schedule_id)
            and (self.created_after is None or job.created_at >= self.created_after)
            and (self.created_before is None or job.created_at < self.created_before)
            and (not self.q or (name or "").startswith(self.q))
        )


Position = tuple[datetime, str]
"""Where a list was left: an instant and an id."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, newest first; `after` of the next call, or None at the end.

    It may hold fewer jobs than were asked for, even none, and still not be the end: when what is
    asked for is rare, a page ends where its search was broken off.
    """

    jobs: Sequence[Job]
    next_after: Position | None


@dataclass(frozen=True, slots=True)
class JobIds:
    """As `Page`, the ids alone."""

    job_ids: Sequence[str]
    next_after: Position | None


class JobStore(Protocol):
    """MongoDB, the truth. Every method that moves a job is one conditional write, `w: majority`.

    Every method may be repeated after `UnknownOutcome` and comes to the same.
    """

    # -- ingest
    async def insert(self, submissions: Sequence[Submission], now: datetime) -> Sequence[Stored]:
        """Store each as `queued` if due by `now`, else `pending`; one verdict each, in order.

        Each is encoded alone, so that one that cannot be spares its neighbours (R3). Raises
        `Unavailable` if any verdict could not be had; a repeat then finds the stored ones `KNOWN`.
        """
        ...

    # -- dispatch and expiry
    async def dispatch(self, lookahead: timedelta, limit: int) -> Sequence[Entry]:
        """`pending` and due within `lookahead` → `queued`; what was moved, read back (R4).

        Nothing: no more is due at the moment. Fewer than `limit` says nothing: other dispatchers
        may have had the rest.
        """
        ...

    async def expire(self, limit: int) -> Sequence[str]:
        """`pending` or `queued` past `expires_at` → `dead`, reason `expired` (R14); their ids."""
        ...

    # -- start, end, settle
    async def start(self, job_ids: Sequence[str], claim: Claim) -> Sequence[Job]:
        """`queued` → `running` for those that allow it; the jobs that were won, read back (R5)."""
        ...

    async def running(self, attempts: Sequence[Attempt]) -> frozenset[Attempt]:
        """Which of these attempts are still `running` under their lease id (R8)."""
        ...

    async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
        """Insert each; return the record that stands for each, in order, whoever wrote it (R6)."""
        ...

    async def settle(self, standing: Sequence[Execution]) -> None:
        """Make each job follow its record, if it is still `running` that attempt (R7)."""
        ...

    # -- operators; with `before`, each only to a job that stands as it was read: see `change`
    async def cancel_waiting(self, job_id: str, before: Job | None = None) -> bool:
        """`pending` or `queued` → `cancelled`; False if it was in neither."""
        ...

    async def change(self, before: Job, after: Job) -> bool:
        """Write what `after` asks for, its due time and `pending`, if the job still stands as it
        was read (`before`): state, attempt, due time and what was asked for; False if it does not.
        """
        ...

    async def hasten(self, job_id: str, before: Job | None = None) -> bool:
        """`pending` or `queued`, due later → `pending`, due now; False if it is not so."""
        ...

    async def redrive(self, job_id: str, before: Job | None = None) -> bool:
        """`dead` or `cancelled` → `pending`, due now, failures and losses 0; False if neither."""
        ...

    async def bury(self, job_id: str, before: Job | None = None) -> bool:
        """Not running → a tombstone, then its executions are deleted (R2); False if running."""
        ...

    # -- operators, many at once: each job is moved if it is then what `wanted` asks for
    async def cancel_waiting_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        """As `cancel_waiting`; how many."""
        ...

    async def redrive_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        """As `redrive`; how many."""
        ...

    async def bury_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        """As `bury`; how many."""
        ...

    # -- retention
    async def bury_ended(self, state: State, older_than: timedelta, limit: int) -> int:
        """Bury what has been in this final state for longer, the oldest first; how many were found.

        0: there is nothing more. Others may have buried what was found.
        """
        ...

    async def sweep_buried(self, older_than: timedelta, limit: int) -> int:
        """Delete old tombstones, executions first; how many."""
        ...

    # -- reading
    async def get(self, job_id: str) -> Job | None:
        """The job (read concern majority), or None if unknown or buried."""
        ...

    async def get_many(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """Those of these jobs that exist and are not buried."""
        ...

    async def places(self, job_ids: Sequence[str]) -> Sequence[Place]:
        """Of those of these jobs that exist and are not buried."""
        ...

    async def standing(self, job_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Which of these keyed jobs exist, buried ones too: their ids are used (R2)."""
        ...

    async def list(self, wanted: JobFilter, limit: int, after: Position | None) -> Page:
        """Newest first by (created_at, id), strictly after `after`."""
        ...

    async def list_ids(self, wanted: JobFilter, limit: int, after: Position | None) -> JobIds:
        """As `list`, without reading what the jobs hold."""
        ...

    async def executions(
        self, job_id: str, after: int = 0, limit: int = 500
    ) -> Sequence[Execution]:
        """The attempts of a job numbered `after` + 1 to `after` + `limit`, oldest first."""
        ...

    async def executions_by_id(
        self, ids: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], Execution]:
        """The records of these attempts, as far as they exist (read concern majority)."""
        ...

    async def counts(self) -> Mapping[State, int]:
        """Roughly how many jobs are in each visible state; exact for those not final."""
        ...

    # -- reconcile
    async def queued_jobs(
        self, since: datetime | None, until: datetime, after: Position | None, limit: int
    ) -> Sequence[Job]:
        """`queued` with `since <= queued_at < until`, by (queued_at, id), from after `after`."""
        ...

    async def running_jobs(
        self, started_before: datetime, after: Position | None, limit: int
    ) -> Sequence[Job]:
        """`running` since before, by (started_at, id), from after `after`."""
        ...

    # -- queues
    async def pause_queue(self, queue: str) -> None:
        """Remember that nothing of this queue may be leased, over a loss of Redis too."""
        ...

    async def resume_queue(self, queue: str) -> None:
        """Undo `pause_queue`."""
        ...

    async def paused_queues(self) -> frozenset[str]:
        """The paused ones."""
        ...

    async def limit_queue(self, queue: str, limit: Limit, before: Limit | None = None) -> bool:
        """Remember the limit of a queue, over a loss of Redis too; `NO_LIMIT` forgets it.

        False, and nothing is written, if `before` is given and is not what stands.
        """
        ...

    async def limited_queues(self) -> Mapping[str, Limit]:
        """The limits of those that have one."""
        ...

    async def active_queues(self) -> frozenset[str]:
        """Queues that ever had a job, a pause or a limit."""
        ...

    # -- time
    async def server_time(self) -> datetime:
        """MongoDB's clock, cut to milliseconds."""
        ...
