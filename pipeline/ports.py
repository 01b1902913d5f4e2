"""The table of contents of the system: what the stages, the gateway and the workers stand on.

Each port has a real implementation (`broker`, `store`, `queue`, `clock`) and a fake one
(`tests/fakes`), held together by one suite in `tests/adapters`. Adapters raise `Unavailable` when
their server does not answer and `UnknownOutcome` when a write was sent and no answer came; driver
errors never pass.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from pipeline.domain.errors import DueQError, Rejected
from pipeline.domain.execution import Execution
from pipeline.domain.firing import Plan, SkipReason
from pipeline.domain.job import Entry, Job, Kind, Submission
from pipeline.domain.lifecycle import Change, EventError, JobEvent, Moment
from pipeline.domain.limits import Limit
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
    """A message as it came. `token` is the adapter's own; `times` is how often it was delivered.

    `properties` are all of them, headers too, byte for byte (`domain.fields` reads them); those
    beside it are None where they cannot be read. `exchange` is the one that it was published to.
    """

    body: bytes
    routing_key: str
    content_type: str | None
    message_id: str | None
    reply_to: str | None
    correlation_id: str | None
    times: int
    token: object
    exchange: str = ""
    properties: bytes = b"\0\0"


@dataclass(frozen=True, slots=True)
class Remains:
    """What is set aside of a message, if not all of it: what its body is, sent again alone."""

    content_type: str
    message_id: str | None


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

    async def park(
        self, delivery: Delivery, body: bytes, error: Rejected, remains: Remains | None = None
    ) -> None:
        """Set `body` (all of the delivery, or what `remains` of it) aside, confirmed (R3)."""
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
"""Where a list was left: an instant and a job id."""


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

        None means that there is nothing more; others may have buried what was found.
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

    async def standing(self, job_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Which of these keyed jobs exist, buried ones too: their ids are used (R2)."""
        ...

    async def list(self, wanted: JobFilter, limit: int, after: Position | None) -> Page:
        """Newest first by (created_at, id), strictly after `after`."""
        ...

    async def list_ids(self, wanted: JobFilter, limit: int, after: Position | None) -> JobIds:
        """As `list`, without reading what the jobs hold."""
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

    async def limit_queue(self, queue: str, limit: Limit) -> None:
        """Remember the limit of a queue, over a loss of Redis too; `NO_LIMIT` forgets it."""
        ...

    async def limited_queues(self) -> Mapping[str, Limit]:
        """The limits of those that have one."""
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

    @property
    def after(self) -> Schedule:
        """The schedule as it stands afterwards."""
        return replace(
            self.before,
            next_fire_at=self.plan.next_fire_at,
            fired_until=self.plan.fired_until,
            is_held=self.plan.is_held,
        )


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

    async def runs(self, schedule_id: str, limit: int, before: datetime | None) -> Sequence[Job]:
        """Its jobs, newest first by fire time, strictly before `before`. By an index."""
        ...

    # -- watchers
    async def schedules_to_look_at(self, until: datetime, limit: int) -> Sequence[Schedule]:
        """Up to `limit` of the oldest whose `look_at` has come by `until`. By an index.

        Empty: there are none. Of many, each watcher gets others (R12).
        """
        ...

    def pass_over(self, schedule_ids: Sequence[str]) -> None:
        """This process cannot handle these: it does not look at them for up to a minute."""
        ...

    async def next_look_at(self) -> datetime | None:
        """The earliest `look_at` there is. By an index."""
        ...

    async def advance(self, advances: Sequence[Advance], look_again_at: datetime) -> None:
        """Write down what is skipped, then move each schedule on, if it stands as it was read.

        A schedule whose version or fires are others by now is left as it is (R13). One
        that is held (`overlap: queue`) is looked at again at `look_again_at`.
        """
        ...

    async def unfinished_runs(self, before: Mapping[str, datetime]) -> Mapping[str, Sequence[str]]:
        """By schedule, its jobs of fire times earlier than the given that are not final (H8)."""
        ...


# ------------------------------------------------------------------------------------- events


class HistoryLost(DueQError):
    """What happened since the last announcement is no longer in MongoDB's oplog."""


class EventFeed(Protocol):
    """What happens to jobs, in MongoDB's order, and who may tell of it: one holder at a time.

    Holding moves no job (R12): who loses it, or wakes late, can no longer move the bookmark, and
    what he tells again are repeats.
    """

    async def hold(self) -> bool:
        """Take or keep the right to tell; False while somebody else has it."""
        ...

    async def let_go(self) -> None:
        """Give it up, so that another need not wait for its end."""
        ...

    async def read(self, limit: int) -> Sequence[Change]:
        """The next changes, in order; waits up to a second for the first, never for more.

        The first call after `hold` or `rewind` begins at the bookmark. Raises `HistoryLost`.
        """
        ...

    async def mark(self) -> bool:
        """Move the bookmark behind all that was read, and keep the right; False: it is lost."""
        ...

    def rewind(self) -> None:
        """Begin again at the bookmark."""
        ...

    async def before(
        self, job_ids: Sequence[str], moment: Moment
    ) -> Mapping[str, Mapping[str, object]]:
        """These jobs as they were just before `moment`.

        What is older than MongoDB remembers (five minutes by default) is told by what they are now
        without what may have changed since; a job that is gone is left out.
        """
        ...

    async def errors(
        self, attempts: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], EventError]:
        """What these attempts died of, as far as their records are still there."""
        ...

    def start_over(self) -> AsyncIterator[Sequence[JobEvent]]:
        """Give up what is lost and go on from now; gives the ends that may not have been told.

        In batches, every job that ended since the bookmark and has not moved on. The bookmark
        is moved by the `mark` after the last of them.
        """
        ...

    async def lag(self) -> timedelta | None:
        """How far the events are behind what has happened; None: nothing was ever told."""
        ...


class EventOutlet(Protocol):
    """The way out: `dueq.events`."""

    async def publish(self, events: Sequence[JobEvent]) -> int:
        """Return when RabbitMQ has confirmed all of them, in order for each job.

        How many of them somebody listens to. Raises `Unavailable` or `UnknownOutcome`; the same
        events again are then repeats.
        """
        ...


# ---------------------------------------------------------------------------------- LeaseQueue


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to try one job. Redis keeps it as `<worker> <lease id>`.

    `limit_key` has to be right where leases are written (`extend`); elsewhere the queue knows it.
    """

    job_id: str
    queue: str
    worker: str
    lease_id: str
    limit_key: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """The reply to a lease call.

    `judged_at` is Redis's clock in the script: every id in `job_ids` was due by it. `next_due_at`
    is when to look again: the due time of the first delayed job or of the next token that a limit
    waits for, None if there is neither; `paused` says why nothing came.
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
class Room:
    """Whether a limit lets something run. `is_full`: when a lease ends; `token_in`: after that."""

    is_full: bool = False
    token_in: timedelta | None = None

    @property
    def is_there(self) -> bool:
        """Whether it does so now."""
        return not self.is_full and self.token_in is None


@dataclass(frozen=True, slots=True)
class QueueView:
    """What a person sees of a queue; `oldest_wait` is how long the first ready job is overdue.

    Jobs whose limit key has no room count as ready, and not for `oldest_wait`; `limited` is how
    many of the ready jobs have a limit key. `limit` is the queue's own as Redis has it, `room`
    whether that lets something be leased, or when it will.
    """

    name: str
    delayed: int
    ready: int
    leased: int
    paused: bool
    oldest_wait: timedelta
    limited: int = 0
    limit: str = ""
    room: Room = Room()


@dataclass(frozen=True, slots=True)
class KeyView:
    """A limit key that holds jobs back: how many wait, how many run, and what the first waits for.

    `concurrency` is what that one allows, None if nothing; `room` when it may run.
    """

    key: str
    waiting: int
    running: int
    concurrency: int | None
    room: Room


@dataclass(frozen=True, slots=True)
class Peeked:
    """A waiting job, in the order in which it would be leased; `waits_for` is a limit, if one."""

    job_id: str
    priority: int
    due_at: datetime
    ready: bool
    waits_for: str | None = None


OVER_HTTP = {"over": "http"}
"""What `extra` of a worker over HTTP has."""


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
    last_seen_at: datetime | None = field(default=None, compare=False)
    """When it last said so, by Redis's clock."""

    @property
    def is_over_http(self) -> bool:
        """Whether it speaks HTTP with a gateway, and nothing else."""
        return OVER_HTTP.items() <= self.extra.items()


@dataclass(frozen=True, slots=True)
class WatcherView:
    """What a watcher says of itself in `dueq:watcher:<id>`."""

    id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    last_seen_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker process ended, as whoever started it saw it.

    One of `signal` (`SIGKILL`) and `exit_code` is there. `log` is the last of what it printed.
    """

    pid: int
    host: str
    signal: str | None
    exit_code: int | None
    log: str


class LeaseQueue(Protocol):
    """Redis: who may run what now. A rebuildable index; every method is one atomic script.

    Entries and leases of several queues may come in one call; atomic is each queue for itself.
    """

    async def add(self, entries: Sequence[Entry]) -> None:
        """Put each into ready (due) or delayed, whatever `leased` says (R4, H16), and wake.

        One that is due and has a limit is ready as soon as its key has room.
        """
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

    async def forgo(self, leases: Sequence[Lease]) -> None:
        """As `ack`, of leases under which nothing was started: what they took of rates is given
        back, as by `give_back`."""
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

    async def incarnations(self, queues: Sequence[str]) -> Mapping[str, Incarnation]:
        """`incarnation` of each, at the cost of one."""
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

    async def views(self, queues: Sequence[str]) -> Sequence[QueueView]:
        """`view` of each, in order; a thousand are one question."""
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

    async def limit(self, queue: str, limit: Limit) -> None:
        """From now on, lease from this queue no more than that; and wake."""
        ...

    async def full_keys(self, queue: str, limit: int) -> Sequence[KeyView]:
        """Limit keys that hold jobs back, those first whose leases have to end."""
        ...

    async def recount(self, queue: str) -> None:
        """Count anew what limit keys hold, from the leases that exist, and judge them anew."""
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

    async def nudge(self, worker: str) -> None:
        """Something that it runs was ended by somebody else: it looks now, not in a while."""
        ...

    async def await_nudge(self, worker: str) -> None:
        """As `await_work`, for a nudge of this worker."""
        ...

    async def retract_worker(self, worker: str) -> None:
        """Delete `dueq:worker:<id>`."""
        ...

    async def workers(self) -> Sequence[WorkerView]:
        """Who is alive."""
        ...

    async def announce_watcher(self, view: WatcherView, ttl: timedelta) -> None:
        """Write `dueq:watcher:<id>`; it vanishes `ttl` after the last call."""
        ...

    async def retract_watcher(self, watcher: str) -> None:
        """Delete `dueq:watcher:<id>`."""
        ...

    async def watchers(self) -> Sequence[WatcherView]:
        """Which watchers are alive, by id."""
        ...

    async def report_death(self, death: Death) -> bool:
        """The process of a worker ended unasked: remember how, for a day, for the reaper.

        False: no worker has announced itself from this host with this pid; nothing is kept.
        """
        ...

    async def deaths(self, workers: Sequence[str]) -> Mapping[str, Death]:
        """How those of these workers ended of which it is known."""
        ...


# --------------------------------------------------------------------------------- HttpWorkers


@dataclass(frozen=True, slots=True)
class Promise:
    """The job that a worker's request for work is given, written down before the job is started.

    So the same request again, also to another gateway, finds the same job.
    """

    worker: str
    request: str
    queue: str
    job_id: str
    lease_id: str
    judged_at: datetime


class HttpWorkers(Protocol):
    """Redis: what gateways know of workers that speak HTTP. Lost, they register again."""

    async def register(self, view: WorkerView, ttl: timedelta) -> bool:
        """As `announce_worker`; False if a worker of another sort has this id."""
        ...

    async def heard(self, worker: str, running: int | None, ttl: timedelta) -> WorkerView | None:
        """It is alive, and for `ttl` from now; what it had said. None: nobody registered that."""
        ...

    async def promise(self, promise: Promise, ttl: timedelta) -> Promise:
        """Promise unless something is promised to this request already; what stands."""
        ...

    async def promised(self, worker: str, request: str) -> Promise | None:
        """What is promised to this request."""
        ...

    async def forget(self, promise: Promise) -> None:
        """Take it back, if it is this one that stands."""
        ...

    async def write_log(self, attempt: Attempt, text: str, ttl: timedelta) -> None:
        """Add to what this attempt has written; of more than 64 KiB the end is kept."""
        ...

    async def log(self, attempt: Attempt) -> str:
        """What it has written."""
        ...


# --------------------------------------------------------------------------------- SickTargets


@dataclass(frozen=True, slots=True)
class SickTarget:
    """A target of http jobs (scheme, host, port) that does not answer as it should.

    `probe_at`: no request goes there before. `held`: how often a job of each queue was held back.
    """

    origin: str
    since: datetime
    probe_at: datetime
    failed_probes: int
    error: str
    held: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Well:
    """The target is not known to be sick."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The target is sick; the asker, and nobody else, may try it now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The target is sick; it is worth asking again after `delay`."""

    delay: timedelta
    error: str


class SickTargets(Protocol):
    """Redis: which targets are sick, known to all workers. A hint: losing it costs a few attempts.

    Every method is one atomic script.
    """

    async def trip(
        self, origin: str, *, probe: str | None, at_least: timedelta, error: str
    ) -> bool:
        """It is sick: hold its jobs back for a while; whether that is news.

        Of a target known to be sick only the failure of its `probe` is news.
        """
        ...

    async def ask(
        self, origin: str, queue: str, *, probe: str, within: timedelta
    ) -> Well | Probe | Wait:
        """Whether a job of `queue` may go there. As a probe it must be done `within`."""
        ...

    async def close(self, origin: str) -> bool:
        """It has answered; whether that is news."""
        ...

    async def origins(self) -> frozenset[str]:
        """Those that are sick."""
        ...

    async def list(self) -> Sequence[SickTarget]:
        """What is known of them, by origin."""
        ...


# ----------------------------------------------------------------------------------- LiveNotes


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of an attempt is done, from 0 to 1, and what it says of that."""

    fraction: float
    note: str | None = None


@dataclass(frozen=True, slots=True)
class LiveNote:
    """What a running attempt has told so far; of its log the tail."""

    progress: Progress | None = None
    log: str = ""


class LiveNotes(Protocol):
    """Redis: what running attempts tell. A hint that may be lost; the record has the last of it.

    Named by job and attempt: a worker that has lost an attempt writes beside its successor.
    """

    async def tell(self, notes: Mapping[tuple[str, int], LiveNote], ttl: timedelta) -> None:
        """These are the notes of these attempts for `ttl`."""
        ...

    async def told(self, attempts: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], LiveNote]:
        """What these attempts have told, as far as they have."""
        ...
