"""The lease queue on Redis: who may run what now. A rebuildable index, never the truth (R10).

Guaranteed: every script is atomic for one queue and may be said twice. Assumed: `noeviction`. What
a crash does: of Redis, everything here is gone and the reconciler puts it back from MongoDB; of the
caller, leases run out and the reaper takes them.

The instant comes from Redis's own clock inside the script (R11). A test hands in `instant`, so that
time passes when it says so; in production the word is empty. (Chosen over short leases and real
waiting, which make a suite slow and, on a busy machine, wrong.)
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import chain
from typing import Self

from pipeline.domain.instants import from_ms, from_us
from pipeline.domain.job import Entry
from pipeline.domain.limits import Limit
from pipeline.ports import (
    Chance,
    Clock,
    Death,
    ExpiredLease,
    Grant,
    Incarnation,
    KeyView,
    Lease,
    Peeked,
    QueueView,
    WatcherView,
    WorkerView,
)
from pipeline.queue import scripts
from pipeline.queue.batches import (
    BATCH,
    MS,
    each_queue,
    entry_words,
    expired_words,
    held_words,
    lease_words,
    move_words,
    parts,
    return_words,
)
from pipeline.queue.connect import Lines, Reply, Word
from pipeline.queue.keys import DISPATCH_WAKE, NUDGE, QUEUES, keys_of
from pipeline.queue.scripts import Script
from pipeline.queue.server import ServerFacts, facts_of, read_info
from pipeline.queue.views import QueueViews
from pipeline.queue.wakeups import STAND, Wakeups
from pipeline.queue.watcher_registry import WatcherRegistry
from pipeline.queue.worker_registry import WorkerRegistry

_PATIENCE = 5.0
_KNOWS_MORE = {"lease": scripts.LEASE_OWN, "lease_own": scripts.LEASE_LIMITED}


def server_time() -> str:
    """No instant: the script asks Redis for its time."""
    return ""


class RedisLeaseQueue:
    """`pipeline.ports.LeaseQueue` on Redis. Belongs to the event loop it is used on.

    Leases and their extension have connections of their own: no crowd of other calls starves them.
    """

    def __init__(
        self, url: str, clock: Clock, chance: Chance, instant: Callable[[], str] = server_time
    ) -> None:
        self._lines = Lines(url, patience=_PATIENCE, most=16)
        self._leasing = Lines(url, patience=_PATIENCE, most=16)
        self._standing = Lines(url, patience=STAND + _PATIENCE, most=1000)
        self._wakeups = Wakeups(self._standing, self._lines, clock, chance)
        self._views = QueueViews(self._lines, instant)
        self._registry = WorkerRegistry(self._lines)
        self._watchers = WatcherRegistry(self._lines)
        self._instant = instant
        self._introduced: set[str] = set()
        self._limited: dict[str, Script] = {}
        """How we lease from queues in which limits were in use when we last did."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        for lines in (self._lines, self._leasing, self._standing):
            await lines.aclose()

    async def check_server(self) -> ServerFacts:
        """What kind of server this is; `Unavailable` when it does not answer."""
        return await facts_of(self._lines)

    # -- putting in

    async def add(self, entries: Sequence[Entry]) -> None:
        """Put each into ready (due) or delayed, whatever `leased` says (R4, H16), and wake."""
        await each_queue(entries, lambda entry: entry.queue, self._add)

    async def _add(self, queue: str, entries: Sequence[Entry]) -> None:
        await self._introduce(queue)
        for part in parts(entries):
            words = [self._instant(), *entry_words(part)]
            await self._lines.run(scripts.ADD, keys_of(queue).all, words)

    async def restore(self, entries: Sequence[Entry]) -> Sequence[str]:
        """Add those that are in neither ready nor delayed; a lease does not count (R10, H11)."""
        restored = await each_queue(entries, lambda entry: entry.queue, self._restore)
        return list(chain.from_iterable(restored))

    async def _restore(self, queue: str, entries: Sequence[Entry]) -> Sequence[str]:
        await self._introduce(queue)
        restored: list[str] = []
        for part in parts(entries):
            words = [self._instant(), *entry_words(part)]
            restored += await self._lines.run(scripts.RESTORE, keys_of(queue).all, words)
        return restored

    async def withdraw(self, queue: str, job_ids: Sequence[str]) -> None:
        """Take these out of where they wait; what is leased stays. Wake if others may run now."""
        for part in parts(job_ids):
            await self._lines.run(scripts.WITHDRAW, keys_of(queue).all, [self._instant(), *part])

    async def _introduce(self, queue: str) -> None:
        """Name the queue before anything is in it: no crash leaves jobs that nobody looks for.

        Once a process; after a wipe the reconciler's `begin_generation` names it again.
        """
        if queue not in self._introduced:
            await self._lines.ask("SADD", QUEUES.pattern, queue)
            self._introduced.add(queue)

    # -- leasing

    async def lease(
        self, queue: str, *, worker: str, lease_id: str, limit: int, ttl: timedelta
    ) -> Grant:
        """Move what is due from delayed to ready, then lease up to `limit` (≤ 1,000) in order.

        Idempotent by `lease_id`: the repeat after a lost reply gives the same jobs. A paused queue
        has no next due time, since nobody should get up for it.
        """
        words: list[Word] = [self._instant(), min(limit, BATCH), ttl // MS, worker, lease_id]
        now_us, next_due, word, *job_ids = await self._lease(
            queue, keys_of(queue).leasing(worker), words
        )
        if word == "unlimited":
            self._limited.pop(queue, None)
        return Grant(
            job_ids=job_ids,
            judged_at=from_us(now_us),
            next_due_at=None if next_due < 0 else from_ms(next_due),
            paused=word == "paused",
        )

    async def _lease(self, queue: str, keys: Sequence[str], words: Sequence[Word]) -> Reply:
        """By the script that knows no more of limits than are in use in this queue."""
        script = self._limited.get(queue, scripts.LEASE)
        while not (reply := await self._leasing.run(script, keys, words)):
            script = self._limited[queue] = _KNOWS_MORE[script.name]
        return reply

    async def extend(self, leases: Sequence[Lease], ttl: timedelta) -> None:
        """Write these leases, new or over another's: MongoDB was asked first (R8, H20)."""

        async def extend_in(queue: str, mine: Sequence[Lease]) -> None:
            for part in parts(mine):
                words: list[Word] = [self._instant(), ttl // MS, *held_words(part)]
                await self._leasing.run(scripts.EXTEND, keys_of(queue).ending, words)

        await each_queue(leases, lambda lease: lease.queue, extend_in)

    async def ack(self, leases: Sequence[Lease]) -> None:
        """Remove each lease that is still exactly this one (H13)."""
        await each_queue(leases, lambda lease: lease.queue, self._ack)

    async def _ack(self, queue: str, leases: Sequence[Lease]) -> None:
        for part in parts(leases):
            words: list[Word] = [self._instant(), *lease_words(part)]
            keys = keys_of(queue).ending
            has_keys = self._limited.get(queue) is scripts.LEASE_LIMITED
            if has_keys or await self._lines.run(scripts.ACK, keys, words) < 0:
                await self._lines.run(scripts.ACK_LIMITED, keys, words)

    async def forgo(self, leases: Sequence[Lease]) -> None:
        """As `ack`, where nothing was started: tokens of rates are given back."""
        await each_queue(leases, lambda lease: lease.queue, self._forgo)

    async def _forgo(self, queue: str, leases: Sequence[Lease]) -> None:
        for part in parts(leases):
            words: list[Word] = [self._instant(), *lease_words(part)]
            await self._lines.run(scripts.FORGO, keys_of(queue).ending, words)

    async def give_back(self, returns: Sequence[tuple[Lease, Entry]]) -> None:
        """Back to ready or delayed, each under its own lease only (R5, H13), and wake."""
        await each_queue(returns, lambda pair: pair[0].queue, self._give_back)

    async def _give_back(self, queue: str, returns: Sequence[tuple[Lease, Entry]]) -> None:
        for part in parts(returns):
            words: list[Word] = [self._instant(), *return_words(part)]
            await self._lines.run(scripts.GIVE_BACK, keys_of(queue).ending, words)

    # -- reaping

    async def expired(self, queue: str, limit: int) -> Sequence[ExpiredLease]:
        """Leases past their deadline by Redis's clock, the oldest first; nothing is moved (R9)."""
        words: list[Word] = [self._instant(), limit]
        reply = await self._lines.run(scripts.EXPIRED, [keys_of(queue).leased], words)
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return [ExpiredLease(job_id, int(deadline)) for job_id, deadline in pairs]

    async def requeue(self, queue: str, moves: Sequence[tuple[ExpiredLease, Entry]]) -> int:
        """Back to ready (or delayed), each if the same expired lease is still there (H12)."""
        moved = 0
        for part in parts(moves):
            words = [self._instant(), *move_words(part)]
            moved += await self._lines.run(scripts.REQUEUE, keys_of(queue).ending, words)
        return moved

    async def drop(self, queue: str, expired: Sequence[ExpiredLease]) -> int:
        """Remove each if the same expired lease is still there (H12)."""
        dropped = 0
        for part in parts(expired):
            words = [self._instant(), *expired_words(part)]
            dropped += await self._lines.run(scripts.DROP, keys_of(queue).ending, words)
        return dropped

    async def leased(self, queue: str, job_ids: Sequence[str]) -> frozenset[str]:
        """Which of these are in `leased`."""
        found: set[str] = set()
        for part in parts(job_ids):
            deadlines = await self._lines.ask("ZMSCORE", keys_of(queue).leased, *part)
            found.update(job_id for job_id, at in zip(part, deadlines, strict=True) if at)
        return frozenset(found)

    # -- incarnation

    async def incarnation(self, queue: str) -> Incarnation:
        """Generation key of this queue and replication id of the server, asked now."""
        return (await self.incarnations([queue]))[queue]

    async def incarnations(self, queues: Sequence[str]) -> Mapping[str, Incarnation]:
        """`incarnation` of each, sent in one go for a thousand."""
        found: dict[str, Incarnation] = {}
        for part in parts(queues):
            gets = [("GET", keys_of(queue).generation) for queue in part]
            *generations, info = await self._lines.ask_all(*gets, ("INFO", "replication"))
            replication_id = read_info(info)["master_replid"]
            for queue, generation in zip(part, generations, strict=True):
                found[queue] = Incarnation(generation, replication_id)
        return found

    async def begin_generation(self, queue: str, generation: str) -> None:
        """Set the generation key if it is missing; the queue's name first, as in `add`."""
        await self._lines.ask_all(
            ("SADD", QUEUES.pattern, queue),
            ("SET", keys_of(queue).generation, generation, "NX"),
        )

    # -- looking and steering

    async def queues(self) -> frozenset[str]:
        """The names that Redis knows."""
        return frozenset(await self._lines.ask("SMEMBERS", QUEUES.pattern))

    async def view(self, queue: str) -> QueueView:
        """Counts and the oldest wait."""
        return await self._views.view(queue)

    async def views(self, queues: Sequence[str]) -> Sequence[QueueView]:
        """Of each, in order; sent in one go for a thousand."""
        return await self._views.views(queues)

    async def peek(self, queue: str, limit: int) -> Sequence[Peeked]:
        """The next jobs in order, at most 1,000."""
        return await self._views.peek(queue, limit)

    async def pause(self, queue: str) -> None:
        """Lease nothing from this queue until `resume`."""
        await self._lines.ask("SET", keys_of(queue).paused, "1")

    async def resume(self, queue: str) -> None:
        """Lease again, and wake."""
        keys = keys_of(queue)
        words = [keys.ready, keys.delayed, keys.paused, keys.wake]
        await self._lines.run(scripts.RESUME, words)

    async def limit(self, queue: str, limit: Limit) -> None:
        """From now on, lease no more than that; and wake."""
        keys = keys_of(queue)
        words: list[Word] = [self._instant(), limit.text]
        await self._lines.run(scripts.LIMIT, [*keys.all, keys.own_limit], words)

    async def full_keys(self, queue: str, limit: int) -> Sequence[KeyView]:
        """Limit keys that hold jobs back, at most 1,000."""
        return await self._views.full_keys(queue, limit)

    async def recount(self, queue: str) -> None:
        """Look through slots and limit keys anew, some hundred in one script call."""
        keys = keys_of(queue)
        for what in ("of", "slots", "claims", "keys"):
            await self._page(scripts.RECOUNT, [*keys.all, keys.active], what)
        await self._page(scripts.FORGET, keys.all)

    async def _page(self, script: Script, keys: Sequence[str], *what: str) -> None:
        cursor = "0"
        while (
            cursor := await self._lines.run(script, keys, [self._instant(), cursor, *what])
        ) != "0":
            pass

    # -- waking

    async def await_work(self, queue: str) -> None:
        """Return when something was pushed, after `STAND` seconds, or a while after an error."""
        await self._wakeups.wait(keys_of(queue).wake)

    async def pass_on(self, queue: str) -> None:
        """Wake another worker of this queue: we took the wake-up and have no slot for it."""
        await self._wakeups.leave(keys_of(queue).wake)

    async def await_dispatch(self) -> None:
        """As `await_work`, for a `pending` job due within the look-ahead."""
        await self._wakeups.wait(DISPATCH_WAKE.pattern)

    async def wake_dispatcher(self) -> None:
        """One sleeping dispatcher looks now."""
        await self._wakeups.leave(DISPATCH_WAKE.pattern)

    # -- workers

    async def announce_worker(self, view: WorkerView, ttl: timedelta) -> None:
        """Write `dueq:worker:<id>`; it vanishes `ttl` after the last call."""
        await self._registry.announce(view, ttl)

    async def nudge(self, worker: str) -> None:
        """This worker looks now."""
        await self._registry.nudge(worker)

    async def await_nudge(self, worker: str) -> None:
        """As `await_work`, for a nudge of this worker."""
        await self._wakeups.wait(NUDGE.of(worker))

    async def retract_worker(self, worker: str) -> None:
        """Delete `dueq:worker:<id>`."""
        await self._registry.retract(worker)

    async def workers(self) -> Sequence[WorkerView]:
        """Who is alive."""
        return await self._registry.list()

    async def announce_watcher(self, view: WatcherView, ttl: timedelta) -> None:
        """Write it down; it vanishes `ttl` after the last call."""
        await self._watchers.announce(view, ttl)

    async def retract_watcher(self, watcher: str) -> None:
        """Forget it at once."""
        await self._watchers.retract(watcher)

    async def watchers(self) -> Sequence[WatcherView]:
        """Which watchers are alive, by id."""
        return await self._watchers.list()

    async def report_death(self, death: Death) -> bool:
        """How the process of a worker ended; False if it had not announced itself."""
        return await self._registry.report(death)

    async def deaths(self, workers: Sequence[str]) -> Mapping[str, Death]:
        """How those of these workers ended of which it is known."""
        return await self._registry.deaths(workers)
