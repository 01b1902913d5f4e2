"""The lease queue in memory. `tests/adapters` runs one suite on it and on Redis, and a state
machine compares the two after every step.

Redis's clock is the `ManualClock`. A test can make it fail (`fail_next`, `go_down`), lose all
(`wipe`) and become another server (`fail_over`).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from pipeline.domain.instants import from_ms, to_ms
from pipeline.domain.job import Entry
from pipeline.domain.limits import Limit
from pipeline.ports import (
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
from tests.fakes.announced import Announced
from tests.fakes.faults import Faulty, may_fail
from tests.fakes.queue_part import Given, Part
from tests.fakes.queue_views import full_keys_of, peek_at, view_of
from tests.fakes.wakeups import FakeWakeups

_MS = timedelta(milliseconds=1)
_DISPATCH = "(dispatch)"  # no queue can be called so

T = TypeVar("T")


class FakeLeaseQueue(Faulty):
    """`pipeline.ports.LeaseQueue` in memory."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("Redis")
        self._clock = clock
        self._wakeups = FakeWakeups(clock)
        self._parts: defaultdict[str, Part] = defaultdict(Part)
        self._names: set[str] = set()
        self._introduced: set[str] = set()
        self._workers = Announced[WorkerView](clock)
        self._watchers = Announced[WatcherView](clock)
        self._deaths: dict[str, Death] = {}
        self._replication = 1

    # -- what a test does to it

    def wipe(self) -> None:
        """FLUSHALL, or a restart with nothing on disk."""
        self._parts.clear()
        self._names.clear()
        self._workers.clear()
        self._watchers.clear()
        self._deaths.clear()
        self._wakeups.tokens.clear()

    def fail_over(self) -> None:
        """From now on it is another server, with the same content."""
        self._replication += 1

    def part(self, queue: str) -> Part:
        """What is there of this queue now; what has expired is gone."""
        part, now = self._parts[queue], self._now()
        part.keys = {job: held for job, held in part.keys.items() if held.until > now}
        part.grants = {worker: given for worker, given in part.grants.items() if given.until > now}
        return part

    def has_token(self, queue: str) -> bool:
        """Whether a wake-up waits to be taken."""
        return queue in self._wakeups.tokens

    def take_token(self, queue: str) -> bool:
        """Take the wake-up, if there is one."""
        there = self.has_token(queue)
        self._wakeups.tokens.discard(queue)
        return there

    def tell_running(self, worker: str, running: int) -> None:
        """How many jobs a worker runs, where it is listed."""
        self._workers.replace(worker, running=running)

    def sleeping(self, queue: str) -> int:
        """How many stand in `await_work`."""
        return self._wakeups.sleeping(queue)

    def _now(self) -> int:
        return to_ms(self._clock.now())

    # -- putting in

    @may_fail
    async def add(self, entries: Sequence[Entry]) -> None:
        """As the port says."""
        for queue, group in _by_queue(entries, lambda entry: entry.queue):
            self._introduce(queue)
            self._place(queue, group)

    @may_fail
    async def restore(self, entries: Sequence[Entry]) -> Sequence[str]:
        """As the port says."""
        restored: list[str] = []
        for queue, group in _by_queue(entries, lambda entry: entry.queue):
            self._introduce(queue)
            part = self.part(queue)
            absent = [entry for entry in group if entry.job_id not in part.waiting]
            self._place(queue, absent)
            restored += [entry.job_id for entry in absent]
        return restored

    @may_fail
    async def withdraw(self, queue: str, job_ids: Sequence[str]) -> None:
        """As the port says."""
        self._wake_if(self.part(queue).withdraw(job_ids, self._now()), queue)

    def _introduce(self, queue: str) -> None:
        if queue not in self._introduced:
            self._introduced.add(queue)
            self._names.add(queue)

    def _place(self, queue: str, entries: Sequence[Entry]) -> None:
        self._wake_if(self.part(queue).place(entries, self._now()), queue)

    def _wake_if(self, may: bool, queue: str) -> None:
        if may:
            self._wakeups.leave(queue)

    # -- leasing

    @may_fail
    async def lease(
        self, queue: str, *, worker: str, lease_id: str, limit: int, ttl: timedelta
    ) -> Grant:
        """As the port says."""
        part, now = self.part(queue), self._now()
        given = part.grants.get(worker)
        again = given if given is not None and given.lease_id == lease_id else None
        job_ids: Sequence[str] = [] if again is None else again.job_ids
        if again is None and not part.paused:
            job_ids, may = part.take(limit, now)
            self._wake_if(may, queue)
            deadline = now + ttl // _MS
            part.hold(job_ids, f"{worker} {lease_id}", deadline)
            if job_ids:
                part.grants[worker] = Given(lease_id, job_ids, deadline)
        next_look, (room, _, _) = part.next_look(now), part.room(now)
        is_fill = len(job_ids) == limit and again is None
        more = next_look is not None or bool(part.ready)
        self._wake_if(is_fill and room > 0 and more, queue)
        next_due_at = None if next_look is None else from_ms(next_look)
        return Grant(job_ids, from_ms(now), next_due_at, part.paused)

    @may_fail
    async def extend(self, leases: Sequence[Lease], ttl: timedelta) -> None:
        """As the port says."""
        for queue, group in _by_queue(leases, lambda lease: lease.queue):
            part, now = self.part(queue), self._now()
            for lease in group:
                part.hold([lease.job_id], _owner(lease), now + ttl // _MS)
            keys = [(lease.job_id, lease.limit_key or None) for lease in group]
            self._wake_if(part.run_under(keys, now), queue)

    @may_fail
    async def ack(self, leases: Sequence[Lease]) -> None:
        """As the port says."""
        mine = [lease for lease in leases if self._let_go(lease)]
        for queue, group in _by_queue(mine, lambda lease: lease.queue):
            self._ended(queue, [lease.job_id for lease in group])

    @may_fail
    async def forgo(self, leases: Sequence[Lease]) -> None:
        """As the port says."""
        mine = [lease for lease in leases if self._let_go(lease)]
        for queue, group in _by_queue(mine, lambda lease: lease.queue):
            self._refund(queue, [lease.job_id for lease in group])
            self._ended(queue, [lease.job_id for lease in group])

    @may_fail
    async def give_back(self, returns: Sequence[tuple[Lease, Entry]]) -> None:
        """As the port says."""
        mine = [pair for pair in returns if self._let_go(pair[0])]
        for queue, group in _by_queue(mine, lambda pair: pair[0].queue):
            self._refund(queue, [lease.job_id for lease, _ in group])
            self._place(queue, [entry for _, entry in group])
            self._wake_if(self.part(queue).has_room(len(group)), queue)

    def _let_go(self, lease: Lease) -> bool:
        return self.part(lease.queue).let_go(lease.job_id, _owner(lease))

    def _refund(self, queue: str, job_ids: Sequence[str]) -> None:
        self._wake_if(self.part(queue).refund(job_ids, self._now()), queue)

    def _ended(self, queue: str, job_ids: Sequence[str]) -> None:
        self._wake_if(self.part(queue).ended(job_ids, self._now()), queue)

    # -- reaping

    @may_fail
    async def expired(self, queue: str, limit: int) -> Sequence[ExpiredLease]:
        """As the port says."""
        past = [(at, job_id) for job_id, at in self.part(queue).leased.items() if at <= self._now()]
        return [ExpiredLease(job_id, deadline) for deadline, job_id in sorted(past)[:limit]]

    @may_fail
    async def requeue(self, queue: str, moves: Sequence[tuple[ExpiredLease, Entry]]) -> int:
        """As the port says."""
        moved = [entry for lease, entry in moves if self._drop_if_same(queue, lease)]
        self._place(queue, moved)
        self._wake_if(self.part(queue).has_room(len(moved)), queue)
        return len(moved)

    @may_fail
    async def drop(self, queue: str, expired: Sequence[ExpiredLease]) -> int:
        """As the port says."""
        dropped = [lease.job_id for lease in expired if self._drop_if_same(queue, lease)]
        self._ended(queue, dropped)
        return len(dropped)

    def _drop_if_same(self, queue: str, lease: ExpiredLease) -> bool:
        return self.part(queue).drop(lease.job_id, lease.deadline_ms, self._now())

    @may_fail
    async def leased(self, queue: str, job_ids: Sequence[str]) -> frozenset[str]:
        """As the port says."""
        return frozenset(job_ids) & frozenset(self.part(queue).leased)

    # -- incarnation

    @may_fail
    async def incarnation(self, queue: str) -> Incarnation:
        """As the port says."""
        return self._incarnation(queue)

    def _incarnation(self, queue: str) -> Incarnation:
        return Incarnation(self._parts[queue].generation, f"server-{self._replication}")

    @may_fail
    async def incarnations(self, queues: Sequence[str]) -> Mapping[str, Incarnation]:
        """As the port says."""
        return {queue: self._incarnation(queue) for queue in queues}

    @may_fail
    async def begin_generation(self, queue: str, generation: str) -> None:
        """As the port says."""
        self._names.add(queue)
        part = self._parts[queue]
        part.generation = part.generation or generation

    # -- looking and steering

    @may_fail
    async def queues(self) -> frozenset[str]:
        """As the port says."""
        return frozenset(self._names)

    @may_fail
    async def view(self, queue: str) -> QueueView:
        """As the port says."""
        return view_of(queue, self.part(queue), self._now())

    @may_fail
    async def views(self, queues: Sequence[str]) -> Sequence[QueueView]:
        """As the port says."""
        return [view_of(queue, self.part(queue), self._now()) for queue in queues]

    @may_fail
    async def peek(self, queue: str, limit: int) -> Sequence[Peeked]:
        """As the port says."""
        return peek_at(self.part(queue), self._now())[:limit]

    @may_fail
    async def limit(self, queue: str, limit: Limit) -> None:
        """As the port says."""
        part = self._parts[queue]
        part.limit = limit
        if limit.rate is not None:
            part.limits.forgive("", limit.rate, self._now())
        self._wake_if(part.is_of_interest, queue)

    @may_fail
    async def full_keys(self, queue: str, limit: int) -> Sequence[KeyView]:
        """As the port says."""
        return full_keys_of(self.part(queue), self._now())[:limit]

    @may_fail
    async def recount(self, queue: str) -> None:
        """As the port says."""
        self._wake_if(self.part(queue).recount(self._now()), queue)

    @may_fail
    async def pause(self, queue: str) -> None:
        """As the port says."""
        self._parts[queue].paused = True

    @may_fail
    async def resume(self, queue: str) -> None:
        """As the port says."""
        part = self._parts[queue]
        part.paused = False
        self._wake_if(part.is_of_interest, queue)

    # -- waking

    async def await_work(self, queue: str) -> None:
        """As the port says; while it is down, a second of the clock."""
        await self._wait(queue)

    @may_fail
    async def pass_on(self, queue: str) -> None:
        """As the port says."""
        self._wakeups.leave(queue)

    async def await_dispatch(self) -> None:
        """As the port says."""
        await self._wait(_DISPATCH)

    @may_fail
    async def wake_dispatcher(self) -> None:
        """As the port says."""
        self._wakeups.leave(_DISPATCH)

    @may_fail
    async def nudge(self, worker: str) -> None:
        """As the port says."""
        self._wakeups.leave(f"nudge {worker}")

    async def await_nudge(self, worker: str) -> None:
        """As the port says."""
        await self._wait(f"nudge {worker}")

    async def _wait(self, name: str) -> None:
        if self.down:
            await self._clock.sleep(1)
        else:
            await self._wakeups.wait(name)

    # -- workers and watchers

    @may_fail
    async def announce_worker(self, view: WorkerView, ttl: timedelta) -> None:
        """As the port says."""
        self._workers.announce(view, ttl)

    @may_fail
    async def retract_worker(self, worker: str) -> None:
        """As the port says."""
        self._workers.retract(worker)

    @may_fail
    async def workers(self) -> Sequence[WorkerView]:
        """As the port says."""
        return self._workers.list()

    @may_fail
    async def announce_watcher(self, view: WatcherView, ttl: timedelta) -> None:
        """As the port says."""
        self._watchers.announce(view, ttl)

    @may_fail
    async def retract_watcher(self, watcher: str) -> None:
        """As the port says."""
        self._watchers.retract(watcher)

    @may_fail
    async def watchers(self) -> Sequence[WatcherView]:
        """As the port says."""
        return self._watchers.list()

    @may_fail
    async def report_death(self, death: Death) -> bool:
        """As the port says."""
        here = (death.host, death.pid)
        ours = [view.id for view in self._workers.list() if (view.host, view.pid) == here]
        for worker in ours:
            self._deaths[worker] = death
            self._workers.retract(worker)
        return bool(ours)

    @may_fail
    async def deaths(self, workers: Sequence[str]) -> Mapping[str, Death]:
        """As the port says."""
        return {worker: self._deaths[worker] for worker in workers if worker in self._deaths}


def _owner(lease: Lease) -> str:
    return f"{lease.worker} {lease.lease_id}"


def _by_queue(
    items: Sequence[T], queue_of: Callable[[T], str]
) -> Sequence[tuple[str, Sequence[T]]]:
    grouped: defaultdict[str, list[T]] = defaultdict(list)
    for item in items:
        grouped[queue_of(item)].append(item)
    return list(grouped.items())
