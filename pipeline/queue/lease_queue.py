"""The lease queue on Redis: who may run what now. A rebuildable index, never the truth (R10).

Guaranteed: every script is atomic for one queue and may be said twice. Assumed: `noeviction`. What
a crash does: of Redis, everything here is gone and the reconciler puts it back from MongoDB; of the
caller, leases run out and the reaper takes them (`leases`).

The instant comes from Redis's own clock inside the script (R11). A test hands in `instant`, so that
time passes when it says so; in production the word is empty. (Chosen over short leases and real
waiting, which make a suite slow and, on a busy machine, wrong.)
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import chain
from typing import Self

from pipeline.domain.job import Entry
from pipeline.domain.limits import Limit
from pipeline.ports import (
    Chance,
    Clock,
    Death,
    Incarnation,
    KeyView,
    Peeked,
    QueueView,
    WatcherView,
    WorkerView,
)
from pipeline.queue import scripts
from pipeline.queue.batches import each_queue, entry_words, parts
from pipeline.queue.connect import Lines, Word
from pipeline.queue.keys import DISPATCH_WAKE, NUDGE, QUEUES, keys_of
from pipeline.queue.leases import Leases
from pipeline.queue.scripts import Instant, Script, by_redis
from pipeline.queue.server import ServerFacts, facts_of, read_info
from pipeline.queue.views import QueueViews
from pipeline.queue.wakeups import STAND, Wakeups
from pipeline.queue.watcher_registry import WatcherRegistry
from pipeline.queue.worker_registry import WorkerRegistry

_PATIENCE = 5.0


class RedisLeaseQueue(Leases):
    """`pipeline.ports.LeaseQueue` on Redis. Belongs to the event loop it is used on."""

    def __init__(self, url: str, clock: Clock, chance: Chance, instant: Instant = by_redis) -> None:
        lines, leasing = (Lines(url, patience=_PATIENCE, most=16) for _ in range(2))
        super().__init__(lines, leasing, instant)
        self._standing = Lines(url, patience=STAND + _PATIENCE, most=1000)
        self._wakeups = Wakeups(self._standing, self._lines, clock, chance)
        self._views = QueueViews(self._lines, instant)
        self._registry = WorkerRegistry(self._lines)
        self._watchers = WatcherRegistry(self._lines)
        self._introduced: set[str] = set()

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
