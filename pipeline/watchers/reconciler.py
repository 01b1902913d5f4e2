"""The reconciler makes Redis match MongoDB, without a leader (R10).

`queued` means "must be in Redis". Each queued job is checked once, a grace period after it became
so; all of them are checked when this process starts, when Redis is another one than before (wiped,
failed over), and every few minutes. What is `running` but leased by nobody in two looks a lease
apart is reaped (H22). Every repair is harmless if it was not needed: a second member in Redis
loses the start, a second record loses the insert. Looking at queues where nothing is wrong costs
Redis two questions, however many queues there are.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from pipeline.domain.job import Job
from pipeline.domain.limits import NO_LIMIT, Limit
from pipeline.ports import (
    NOTHING_TOLD,
    Attempt,
    Chance,
    Clock,
    Incarnation,
    JobStore,
    LeaseQueue,
    LiveNotes,
    Position,
    QueueView,
)
from pipeline.telemetry import RESTORED, log
from pipeline.watchers.loop import Loop
from pipeline.watchers.reaper import lose

_BATCH = 500
_PERIOD = timedelta(seconds=1)
_GRACE = timedelta(seconds=5)
_OVERDUE = timedelta(seconds=1)
_FULL_PASS_SECONDS = 300.0

_log = log(__name__)


class Reconciler:
    """Compares MongoDB with Redis; keeps in memory only what it saw when."""

    def __init__(
        self,
        store: JobStore,
        queue: LeaseQueue,
        clock: Clock,
        chance: Chance,
        lease: timedelta,
        notes: LiveNotes = NOTHING_TOLD,
    ) -> None:
        self._notes = notes
        self._store = store
        self._queue = queue
        self._clock = clock
        self._chance = chance
        self._lease = lease
        self._known: dict[str, Incarnation] = {}
        self._checked_until: datetime | None = None
        self._passed_at = 0.0
        self._looked_at = 0.0
        self._absent: dict[Attempt, Incarnation] = {}
        self._doubted: set[tuple[str, bool]] = set()
        self._doubted_limits: set[tuple[str, Limit]] = set()

    def loop(self) -> Loop:
        """The loop that runs it."""
        return Loop("reconciler", self.step, _PERIOD, self._clock, self._chance)

    async def step(self) -> None:
        """One look: is it the same Redis, are fresh jobs there, do running ones have a lease?"""
        names = sorted(await self._store.active_queues())
        seen = dict(await self._queue.incarnations(names))
        await self._look_at_queues(names)
        if self._needs_full_pass(seen):
            await self._pass(seen)
        else:
            await self._get_to_know(seen)
            await self._check_fresh()
        if self._is_long_ago(self._looked_at, self._lease.total_seconds()):
            await self._look_for_leaseless(seen)

    # -- queued, but not in Redis --------------------------------------------------------------

    def _needs_full_pass(self, seen: dict[str, Incarnation]) -> bool:
        """At our start, when a queue we know is in another Redis now, and after a few minutes."""
        if self._checked_until is None or self._is_long_ago(self._passed_at, _FULL_PASS_SECONDS):
            return True
        return any(
            name in self._known and (now.generation is None or self._known[name] != now)
            for name, now in seen.items()
        )

    async def _get_to_know(self, seen: dict[str, Incarnation]) -> None:
        """A queue that is new since our last look needs no full pass: MongoDB knew its name before
        any job was in it, so each of its jobs is still to be checked, and in this Redis or a later
        one."""
        new = {name: now for name, now in seen.items() if name not in self._known}
        if new:
            await self._pause_again(new)
            await self._begin_generations(new)
            seen |= new
            self._known |= new

    async def _begin_generations(self, seen: dict[str, Incarnation]) -> None:
        """Where it is missing; what is remembered is what stands, whoever was first."""
        missing = [name for name, now in seen.items() if now.generation is None]
        for name in missing:
            await self._queue.begin_generation(name, self._chance.token())
        seen |= await self._queue.incarnations(missing) if missing else {}

    async def _pass(self, seen: dict[str, Incarnation]) -> None:
        """Everything `queued`. What is remembered afterwards was read before (H18): a wipe during
        the pass shows as another generation at the next look."""
        await self._pause_again(seen)
        await self._begin_generations(seen)
        now = self._clock.now()
        restored = await self._restore(None, now)
        for name in seen:
            await self._queue.recount(name)
        self._known = seen
        self._checked_until = now - _GRACE
        self._passed_at = self._clock.monotonic()
        if restored:
            _log.info("reconcile.restored", jobs=restored, why="full pass")

    async def _check_fresh(self) -> None:
        """What became `queued` a grace period ago. The window reaches back by as much again: the
        instant is stamped before the write, and a slow write shows up late."""
        until = self._clock.now() - _GRACE
        since = None if self._checked_until is None else self._checked_until - _GRACE
        restored = await self._restore(since, until)
        self._checked_until = until
        if restored:
            _log.info("reconcile.restored", jobs=restored, why="missing from Redis")

    async def _restore(self, since: datetime | None, until: datetime) -> int:
        restored = 0
        after: Position | None = None
        while True:
            jobs = await self._store.queued_jobs(since, until, after, _BATCH)
            restored += await self._add_missing(jobs)
            if len(jobs) < _BATCH:
                return restored
            after = _position(jobs[-1], lambda job: job.queued_at)

    async def _add_missing(self, jobs: Sequence[Job]) -> int:
        if not jobs:
            return 0
        queue_of = {job.id: job.queue for job in jobs}
        missing = await self._queue.restore([job.entry for job in jobs])
        for job_id in missing:
            RESTORED.labels(queue_of[job_id]).inc()
        return len(missing)

    # -- running, but leased by nobody -----------------------------------------------------------

    async def _look_for_leaseless(self, seen: dict[str, Incarnation]) -> None:
        """A start that was applied after its worker had given up, or a lost Redis with it."""
        self._looked_at = self._clock.monotonic()
        before = self._clock.now() - self._lease
        absent: dict[Attempt, Incarnation] = {}
        after: Position | None = None
        while True:
            jobs = await self._store.running_jobs(before, after, _BATCH)
            for job in await self._leaseless(jobs):
                absent[Attempt.of(job)] = seen.get(job.queue, Incarnation(None, ""))
            looked_for = [job for job in jobs if Attempt.of(job) in absent]
            await self._reap_twice_absent(looked_for, absent)
            if len(jobs) < _BATCH:
                break
            after = _position(jobs[-1], lambda job: job.started_at)
        self._absent = absent

    async def _leaseless(self, jobs: Sequence[Job]) -> Sequence[Job]:
        by_queue: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            by_queue[job.queue].append(job)
        found: list[Job] = []
        for name, members in by_queue.items():
            leased = await self._queue.leased(name, [job.id for job in members])
            found += [job for job in members if job.id not in leased]
        return found

    async def _reap_twice_absent(
        self, jobs: Sequence[Job], absent: dict[Attempt, Incarnation]
    ) -> None:
        gone = [job for job in jobs if self._absent.get(Attempt.of(job)) == absent[Attempt.of(job)]]
        await lose(gone, self._store, self._queue, self._clock, self._notes)

    # -- pauses and wake-ups ----------------------------------------------------------------

    async def _pause_again(self, seen: dict[str, Incarnation]) -> None:
        """Pauses and limits, in a Redis that is another, at once and before any job is there to be
        leased. A resume under way at this moment is undone, and done again by `_look_at_queues` two
        looks later."""
        for name in sorted(await self._store.paused_queues()):
            if name in seen and self._known.get(name) != seen[name]:
                await self._queue.pause(name)
        for name, limit in sorted((await self._store.limited_queues()).items()):
            if name in seen and self._known.get(name) != seen[name]:
                await self._queue.limit(name, limit)

    async def _look_at_queues(self, names: Sequence[str]) -> None:
        """Wake somebody for what is overdue: a wake-up may have died with the worker that ate it.

        Pauses and limits follow MongoDB, but only where two looks in a row disagree the same way:
        between the two writes of a pause or resume under way they differ for a moment.
        """
        views = await self._queue.views(names)
        paused = await self._store.paused_queues()
        for view in views:
            is_overdue = view.ready and view.room.is_there and view.oldest_wait >= _OVERDUE
            if is_overdue and view.name not in paused:
                await self._queue.pass_on(view.name)
        await self._correct_pauses(views, paused)
        await self._correct_limits(views)

    async def _correct_pauses(self, views: Sequence[QueueView], paused: frozenset[str]) -> None:
        doubted = {(v.name, v.name in paused) for v in views if v.paused != (v.name in paused)}
        for name, wanted in doubted & self._doubted:
            await (self._queue.pause(name) if wanted else self._queue.resume(name))
        self._doubted = doubted

    async def _correct_limits(self, views: Sequence[QueueView]) -> None:
        limits = await self._store.limited_queues()
        wanted = {view.name: limits.get(view.name, NO_LIMIT) for view in views}
        doubted = {(v.name, wanted[v.name]) for v in views if v.limit != wanted[v.name].text}
        for name, limit in doubted & self._doubted_limits:
            await self._queue.limit(name, limit)
        self._doubted_limits = doubted

    def _is_long_ago(self, moment: float, seconds: float) -> bool:
        return self._clock.monotonic() - moment >= seconds


def _position(job: Job, instant: Callable[[Job], datetime | None]) -> Position:
    at = instant(job)
    assert at is not None
    return at, job.id
