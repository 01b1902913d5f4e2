"""The table of contents of the system: what the stages, the gateway and the workers stand on.

Each port has a real implementation (`broker`, `store`, `queue`, `clock`) and a fake one
(`tests/fakes`), held together by one suite in `tests/adapters`. Adapters raise `Unavailable` when
their server does not answer and `UnknownOutcome` when a write was sent and no answer came; driver
errors never pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Execution
from pipeline.domain.firing import Plan, SkipReason
from pipeline.domain.job import Entry, Job, Kind, Submission
from pipeline.domain.schedule import Schedule
from pipeline.domain.states import State


class Clock(Protocol):
    """Time. Only a clock tells it and sleeps."""

    def now(self) -> datetime:
        """The instant by MongoDB's clock: our monotonic clock plus the measured offset (R11)."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; the only sleep there is."""
        ...


class Chance(Protocol):
    """Everything random, so that a run can be replayed from a seed."""

    def job_id(self) -> str:
        """A fresh UUIDv7."""
        ...

    def token(self) -> str:
        """A fresh short word: lease ids, claim ids, worker ids."""
        ...

    def lot(self) -> float:
        """A number from [0, 1)."""
        ...


class Intake(Protocol):
    """The way into RabbitMQ."""

    async def publish(self, submissions: Sequence[Submission]) -> None:
        """Return when RabbitMQ holds all of them durably (R1).

        Raises `UnknownOutcome` when no confirm came in time, `Unavailable` when nothing was sent.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it came. `token` is the adapter's own; `times` is how often it was delivered."""

    body: bytes
    routing_key: str
    content_type: str | None
    message_id: str | None
    reply_to: str | None
    correlation_id: str | None
    times: int
    token: object


class Mailbox(Protocol):
    """The way out of RabbitMQ: the submit queue, in batches."""

    async def take(self, limit: int) -> Sequence[Delivery]:
        """All that is there up to `limit`, in order; waits for the first, never for more.

        After a lost connection it connects again by itself; what was held is delivered anew.
        """
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """These are stored or parked. Those of a connection that is gone are passed over."""
        ...

    async def park(self, delivery: Delivery, body: bytes, error: Rejected) -> None:
        """Set `body` (all of the delivery or its bad element) aside, confirmed (R3)."""
        ...

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """Answer to `reply_to`, if there is one and it still exists."""
        ...

    async def give_back(self) -> None:
        """Stop consuming and return all that is held, once; `take` starts consuming again (R3)."""
        ...


# ----------------------------------------------------------------------------------- JobStore


class Stored(StrEnum):
    """What became of one job that was to be stored."""

    NEW = "new"
    """Stored now, by us."""
    KNOWN = "known"
    """It was there already, the same (redelivered, or submitted again under its key)."""
    OTHER = "other"
    """The id is taken by a job with another body; the first one stands (R2)."""
    REFUSED = "refused"
    """MongoDB will never take this document."""


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


Position = tuple[datetime, str]
"""Where a list was left: an instant and a job id."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, newest first; `after` of the next call, or None at the end."""

    jobs: Sequence[Job]
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

        None means that nothing more is due at the moment; fewer than `limit` means nothing, other
        dispatchers may have had the rest.
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

    # -- operators
    async def cancel_waiting(self, job_id: str) -> bool:
        """`pending` or `queued` → `cancelled`; False if it was in neither."""
        ...

    async def redrive(self, job_id: str) -> bool:
        """`dead` or `cancelled` → `pending`, due now, failures and losses 0; False if neither."""
        ...

    async def bury(self, job_id: str) -> bool:
        """Not running → a tombstone, then its executions are deleted (R2); False if running."""
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

    async def standing(self, job_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Which of these keyed jobs exist, buried ones too: their ids are used (R2)."""
        ...

    async def list(self, wanted: JobFilter, limit: int, after: Position | None) -> Page:
        """Newest first by (created_at, id), strictly after `after`."""
        ...

    async def executions(self, job_id: str) -> Sequence[Execution]:
        """The attempts of a job, oldest first."""
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

    async def active_queues(self) -> frozenset[str]:
        """Queues that ever had a job, and paused ones."""
        ...

    # -- time
    async def server_time(self) -> datetime:
        """MongoDB's clock, cut to milliseconds."""
        ...


# ------------------------------------------------------------------------------- ScheduleStore


@dataclass(frozen=True, slots=True)
class Skipped:
    """Fire times of a schedule that got no job, from `first` to `last`, as it was written down."""

    schedule_id: str
    first: datetime
    last: datetime
    reason: SkipReason
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Advance:
    """What a watcher has decided about a schedule as it had read it (`before`)."""

    before: Schedule
    plan: Plan


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """A part of the list of schedules, newest first; `after` of the next call, or None."""

    schedules: Sequence[Schedule]
    next_after: Position | None


class ScheduleStore(Protocol):
    """Schedules in MongoDB. Every write is one conditional write, `w: majority`.

    Every method may be repeated after `UnknownOutcome` and comes to the same.
    """

    # -- owners
    async def insert_schedule(self, schedule: Schedule) -> bool:
        """Store it; False if there is one with this id already."""
        ...

    async def replace_schedule(self, before: Schedule, after: Schedule) -> bool:
        """Write `after` if it still stands as `before`, fires included; False if it does not."""
        ...

    async def delete_schedule(self, before: Schedule) -> bool:
        """Delete it and what was written down of its fires, if its version is still `before`'s.

        Its jobs stay. False if it is another version; True if there is none.
        """
        ...

    async def get_schedule(self, schedule_id: str) -> Schedule | None:
        """The schedule, or None (read concern majority)."""
        ...

    async def list_schedules(
        self, limit: int, after: Position | None, q: str | None = None
    ) -> SchedulePage:
        """Newest first by (created_at, id), strictly after `after`; `q` is the name's start."""
        ...

    async def skipped(
        self, schedule_id: str, limit: int, before: datetime | None
    ) -> Sequence[Skipped]:
        """What was skipped, newest first by `first`, strictly before `before`."""
        ...

    # -- watchers
    async def schedules_to_look_at(self, until: datetime, limit: int) -> Sequence[Schedule]:
        """Those whose `look_at` has come by `until`, the oldest first. By an index."""
        ...

    async def next_look_at(self) -> datetime | None:
        """The earliest `look_at` there is. By an index."""
        ...

    async def advance(self, advances: Sequence[Advance], look_again_at: datetime) -> None:
        """Write down what is skipped, then move each schedule on, if it stands as it was read.

        A schedule whose version or `next_fire_at` is another by now is left as it is (R13). One
        that is held (`overlap: queue`) is looked at again at `look_again_at`.
        """
        ...

    async def unfinished_runs(self, before: Mapping[str, datetime]) -> Mapping[str, Sequence[str]]:
        """By schedule, its jobs of fire times earlier than the given that are not final (H8)."""
        ...


# ---------------------------------------------------------------------------------- LeaseQueue


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to try one job. Redis keeps it as `<worker> <lease id>`."""

    job_id: str
    queue: str
    worker: str
    lease_id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """The reply to a lease call.

    `judged_at` is Redis's clock in the script: every id in `job_ids` was due by it. `next_due_at`
    is the due time of the first delayed job, None if there is none; `paused` says why nothing came.
    """

    job_ids: Sequence[str]
    judged_at: datetime
    next_due_at: datetime | None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A member of `leased` whose deadline has passed; the deadline is its identity (H12)."""

    job_id: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Incarnation:
    """Which Redis this is: after a wipe or a failover at least one of the two is another."""

    generation: str | None
    replication_id: str


@dataclass(frozen=True, slots=True)
class QueueView:
    """What a person sees of a queue; `oldest_wait` is how long the first ready job is overdue."""

    name: str
    delayed: int
    ready: int
    leased: int
    paused: bool
    oldest_wait: timedelta


@dataclass(frozen=True, slots=True)
class Peeked:
    """A waiting job, in the order in which it would be leased."""

    job_id: str
    priority: int
    due_at: datetime
    ready: bool


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What a worker says of itself in `dueq:worker:<id>`."""

    id: str
    host: str
    pid: int
    queues: Sequence[str]
    concurrency: int
    running: int
    started_at: datetime
    extra: Mapping[str, str] = field(default_factory=dict)


class LeaseQueue(Protocol):
    """Redis: who may run what now. A rebuildable index; every method is one atomic script.

    Entries and leases of several queues may come in one call; atomic is each queue for itself.
    """

    async def add(self, entries: Sequence[Entry]) -> None:
        """Put each into ready (due) or delayed, whatever `leased` says (R4, H16), and wake."""
        ...

    async def restore(self, entries: Sequence[Entry]) -> Sequence[str]:
        """Add those that are in neither ready nor delayed; a lease does not count (R10, H11)."""
        ...

    async def lease(
        self, queue: str, *, worker: str, lease_id: str, limit: int, ttl: timedelta
    ) -> Grant:
        """Move what is due from delayed to ready, then lease up to `limit` in order.

        Idempotent by `lease_id`: the same again returns the same ids, also after a lost reply.
        """
        ...

    async def extend(self, leases: Sequence[Lease], ttl: timedelta) -> None:
        """Write these leases, new or over another's: MongoDB was asked first (R8, H20)."""
        ...

    async def ack(self, leases: Sequence[Lease]) -> None:
        """Remove each lease that is still exactly this one (H13)."""
        ...

    async def give_back(self, returns: Sequence[tuple[Lease, Entry]]) -> None:
        """Back to ready or delayed, each under its own lease only (R5, H13), and wake."""
        ...

    async def expired(self, queue: str, limit: int) -> Sequence[ExpiredLease]:
        """Leases past their deadline by Redis's clock; nothing is moved (R9)."""
        ...

    async def requeue(self, queue: str, moves: Sequence[tuple[ExpiredLease, Entry]]) -> int:
        """Back to ready (or delayed), each if the same expired lease is still there (H12)."""
        ...

    async def drop(self, queue: str, expired: Sequence[ExpiredLease]) -> int:
        """Remove each if the same expired lease is still there (H12)."""
        ...

    async def leased(self, queue: str, job_ids: Sequence[str]) -> frozenset[str]:
        """Which of these are in `leased`."""
        ...

    async def incarnation(self, queue: str) -> Incarnation:
        """Generation key of this queue and replication id of the server."""
        ...

    async def begin_generation(self, queue: str, generation: str) -> None:
        """Set the generation key if it is missing."""
        ...

    async def queues(self) -> frozenset[str]:
        """The names that Redis knows."""
        ...

    async def view(self, queue: str) -> QueueView:
        """Counts and the oldest wait."""
        ...

    async def peek(self, queue: str, limit: int) -> Sequence[Peeked]:
        """The next jobs in order: ready first, then delayed."""
        ...

    async def pause(self, queue: str) -> None:
        """Lease nothing from this queue until `resume`."""
        ...

    async def resume(self, queue: str) -> None:
        """Lease again, and wake."""
        ...

    async def await_work(self, queue: str) -> None:
        """Return when something was pushed (or after some seconds of nothing).

        A standing blocking read that eats one wake-up. Let it stand; never cancel it but to end.
        """
        ...

    async def pass_on(self, queue: str) -> None:
        """Wake another worker of this queue: we took the wake-up and have no slot for it."""
        ...

    async def await_dispatch(self) -> None:
        """Return when somebody wrote a `pending` job due within the look-ahead (or after a while).

        As `await_work`.
        """
        ...

    async def wake_dispatcher(self) -> None:
        """A `pending` job due within the look-ahead was written: one dispatcher looks now."""
        ...

    async def announce_worker(self, view: WorkerView, ttl: timedelta) -> None:
        """Write `dueq:worker:<id>`; it vanishes `ttl` after the last call."""
        ...

    async def retract_worker(self, worker: str) -> None:
        """Delete `dueq:worker:<id>`."""
        ...

    async def workers(self) -> Sequence[WorkerView]:
        """Who is alive."""
        ...
