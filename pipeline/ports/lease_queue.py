"""Redis: which jobs wait, which are leased, and by whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pipeline.domain.job import Entry, Job
from pipeline.domain.limits import Limit
from pipeline.ports.views import Death, KeyView, Peeked, QueueView, WatcherView, WorkerView

SOON = timedelta(seconds=10)
"""Due this soon: a dispatcher should look now (`wake_dispatcher`) and not at its next poll."""


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

    @classmethod
    def of(cls, job: Job) -> "Lease":
        """That under which this job runs."""
        assert job.worker is not None
        assert job.lease_id is not None
        limit = job.spec.limits
        return cls(job.id, job.queue, job.worker, job.lease_id, limit.key if limit else None)


@dataclass(frozen=True, slots=True)
class Grant:
    """The reply to a lease call.

    `judged_at` is Redis's clock in the script, to the microsecond since timers are set by it: every
    id in `job_ids` was due by it. `next_due_at` is when to look again: the due time of the first
    delayed job or of the next token that a limit waits for, None if there is neither; `paused` says
    why nothing came.
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


class LeaseQueue(Protocol):
    """Redis: who may run what now. A rebuildable index; whatever moves jobs is an atomic script.

    Entries and leases of several queues may come in one call; atomic is each queue for itself, and
    of one queue each thousand.
    """

    async def add(self, entries: Sequence[Entry]) -> None:
        """Put each into ready (due) or delayed, whatever `leased` says (R4, H16), and wake.

        One that is due and has a limit is ready as soon as its key has room.
        """
        ...

    async def restore(self, entries: Sequence[Entry]) -> Sequence[str]:
        """Add those that are in neither ready nor delayed; a lease does not count (R10, H11)."""
        ...

    async def withdraw(self, queue: str, job_ids: Sequence[str]) -> None:
        """Take these out of where they wait; what is leased stays. Wake if others may run now."""
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
        """The next jobs in order: those that may run, what limits hold back, then the delayed."""
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
