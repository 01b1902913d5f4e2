"""The lease queue in memory. `tests/adapters` runs one suite on it and on Redis, and a state
machine compares the two after every step.

Redis's clock is the `ManualClock`. A test can make it fail (`fail_next`, `go_down`), lose all
(`wipe`) and become another server (`fail_over`).
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from pipeline.domain.instants import from_ms, to_ms
from pipeline.domain.job import Entry
from pipeline.domain.priority import ready_score
from pipeline.ports import (
    Clock,
    ExpiredLease,
    Grant,
    Incarnation,
    Lease,
    Peeked,
    QueueView,
    WorkerView,
)
from tests.fakes.faults import Faulty, may_fail
from tests.fakes.queue_part import Given, Held, Part, Waiting
from tests.fakes.wakeups import FakeWakeups

_MS = timedelta(milliseconds=1)
_DISPATCH = "(dispatch)"  # no queue can be called so


class FakeLeaseQueue(Faulty):
    """`pipeline.ports.LeaseQueue` in memory."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("Redis")
        self._clock = clock
        self._wakeups = FakeWakeups(clock)
        self._parts: defaultdict[str, Part] = defaultdict(Part)
        self._names: set[str] = set()
        self._introduced: set[str] = set()
        self._workers: dict[str, tuple[WorkerView, int]] = {}
        self._replication = 1

    # -- what a test does to it

    def wipe(self) -> None:
        """FLUSHALL, or a restart with nothing on disk."""
        self._parts.clear()
        self._names.clear()
        self._workers.clear()
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

    def sleeping(self, queue: str) -> int:
        """How many stand in `await_work`."""
        return self._wakeups.sleeping(queue)

    def _now(self) -> int:
        return to_ms(self._clock.now())

    # -- putting in

    @may_fail
    async def add(self, entries: Sequence[Entry]) -> None:
        """As the port says."""
        for queue, group in _by_queue(entries):
            self._introduce(queue)
            self._place(queue, group)

    @may_fail
    async def restore(self, entries: Sequence[Entry]) -> Sequence[str]:
        """As the port says."""
        restored: list[str] = []
        for queue, group in _by_queue(entries):
            self._introduce(queue)
            part = self.part(queue)
            absent = [e for e in group if e.job_id not in part.ready | part.delayed]
            self._place(queue, absent)
            restored += [entry.job_id for entry in absent]
        return restored

    def _introduce(self, queue: str) -> None:
        if queue not in self._introduced:
            self._introduced.add(queue)
            self._names.add(queue)

    def _place(self, queue: str, entries: Sequence[Entry]) -> None:
        part, now = self.part(queue), self._now()
        head, news = _soonest(part), False
        for entry in entries:
            waiting = Waiting(to_ms(entry.due_at), entry.priority)
            part.ready.pop(entry.job_id, None)
            part.delayed.pop(entry.job_id, None)
            due = waiting.due <= now
            (part.ready if due else part.delayed)[entry.job_id] = waiting
            news |= due
        soonest = _soonest(part)
        if news or (entries and soonest is not None and (head is None or soonest < head)):
            self._wakeups.leave(queue)

    # -- leasing

    @may_fail
    async def lease(
        self, queue: str, *, worker: str, lease_id: str, limit: int, ttl: timedelta
    ) -> Grant:
        """As the port says."""
        part, now = self.part(queue), self._now()
        given = part.grants.get(worker)
        job_ids: Sequence[str] = []
        if given and given.lease_id == lease_id:
            job_ids = given.job_ids
        elif not part.paused:
            job_ids = self._take(part, limit)
            deadline = now + ttl // _MS
            self._hold(part, dict.fromkeys(job_ids, f"{worker} {lease_id}"), deadline)
            if job_ids:
                part.grants[worker] = Given(lease_id, job_ids, deadline)
            if len(job_ids) == limit and (part.ready or part.delayed):
                self._wakeups.leave(queue)
        head = None if part.paused else _soonest(part)
        next_due_at = None if head is None else from_ms(head)
        return Grant(job_ids, from_ms(now), next_due_at, part.paused)

    def _take(self, part: Part, limit: int) -> list[str]:
        for job_id, waiting in list(part.delayed.items()):
            if waiting.due <= self._now():
                part.ready[job_id] = part.delayed.pop(job_id)
        job_ids = sorted(part.ready, key=lambda job_id: _rank(job_id, part.ready[job_id]))[:limit]
        for job_id in job_ids:
            del part.ready[job_id]
        return job_ids

    def _hold(self, part: Part, owners: dict[str, str], deadline: int) -> None:
        for job_id, owner in owners.items():
            part.leased[job_id] = deadline
            part.keys[job_id] = Held(owner, deadline)

    @may_fail
    async def extend(self, leases: Sequence[Lease], ttl: timedelta) -> None:
        """As the port says."""
        for lease in leases:
            deadline = self._now() + ttl // _MS
            self._hold(self.part(lease.queue), {lease.job_id: _owner(lease)}, deadline)

    @may_fail
    async def ack(self, leases: Sequence[Lease]) -> None:
        """As the port says."""
        for lease in leases:
            self._release(lease)

    @may_fail
    async def give_back(self, returns: Sequence[tuple[Lease, Entry]]) -> None:
        """As the port says."""
        mine: defaultdict[str, list[Entry]] = defaultdict(list)
        for lease, entry in returns:
            if self._release(lease):
                mine[lease.queue].append(entry)
        for queue, group in mine.items():
            self._place(queue, group)

    def _release(self, lease: Lease) -> bool:
        part = self.part(lease.queue)
        held = part.keys.get(lease.job_id)
        if held is None or held.owner != _owner(lease):
            return False
        del part.keys[lease.job_id]
        part.leased.pop(lease.job_id, None)
        return True

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
        return len(moved)

    @may_fail
    async def drop(self, queue: str, expired: Sequence[ExpiredLease]) -> int:
        """As the port says."""
        return sum(self._drop_if_same(queue, lease) for lease in expired)

    def _drop_if_same(self, queue: str, lease: ExpiredLease) -> bool:
        part = self.part(queue)
        same = part.leased.get(lease.job_id) == lease.deadline_ms
        if not same or lease.deadline_ms > self._now():
            return False
        del part.leased[lease.job_id]
        part.keys.pop(lease.job_id, None)
        return True

    @may_fail
    async def leased(self, queue: str, job_ids: Sequence[str]) -> frozenset[str]:
        """As the port says."""
        return frozenset(job_ids) & frozenset(self.part(queue).leased)

    # -- incarnation

    @may_fail
    async def incarnation(self, queue: str) -> Incarnation:
        """As the port says."""
        return Incarnation(self._parts[queue].generation, f"server-{self._replication}")

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
        part, now = self.part(queue), self._now()
        dues = [waiting.due for waiting in (part.ready | part.delayed).values()]
        late = [due for due in dues if due <= now]
        wait = (now - min(late, default=now)) * _MS
        return QueueView(
            queue, len(dues) - len(late), len(late), len(part.leased), part.paused, wait
        )

    @may_fail
    async def peek(self, queue: str, limit: int) -> Sequence[Peeked]:
        """As the port says."""
        part, now = self.part(queue), self._now()
        waiting = part.ready | part.delayed
        due = sorted(
            (job_id for job_id in waiting if waiting[job_id].due <= now),
            key=lambda job_id: _rank(job_id, waiting[job_id]),
        )
        later = sorted(
            (job_id for job_id in waiting if waiting[job_id].due > now),
            key=lambda job_id: (waiting[job_id].due, job_id),
        )
        return [
            Peeked(job, waiting[job].priority, from_ms(waiting[job].due), waiting[job].due <= now)
            for job in (due + later)[:limit]
        ]

    @may_fail
    async def pause(self, queue: str) -> None:
        """As the port says."""
        self._parts[queue].paused = True

    @may_fail
    async def resume(self, queue: str) -> None:
        """As the port says."""
        part = self._parts[queue]
        part.paused = False
        if part.ready or part.delayed:
            self._wakeups.leave(queue)

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

    async def _wait(self, name: str) -> None:
        if self.down:
            await self._clock.sleep(1)
        else:
            await self._wakeups.wait(name)

    # -- workers

    @may_fail
    async def announce_worker(self, view: WorkerView, ttl: timedelta) -> None:
        """As the port says."""
        self._workers[view.id] = (view, self._now() + ttl // _MS)

    @may_fail
    async def retract_worker(self, worker: str) -> None:
        """As the port says."""
        self._workers.pop(worker, None)

    @may_fail
    async def workers(self) -> Sequence[WorkerView]:
        """As the port says."""
        alive = [view for view, until in self._workers.values() if until > self._now()]
        return sorted(alive, key=lambda view: view.id)


def _owner(lease: Lease) -> str:
    return f"{lease.worker} {lease.lease_id}"


def _rank(job_id: str, waiting: Waiting) -> tuple[int, str]:
    return ready_score(waiting.priority, waiting.due), job_id


def _soonest(part: Part) -> int | None:
    return min((waiting.due for waiting in part.delayed.values()), default=None)


def _by_queue(entries: Sequence[Entry]) -> Sequence[tuple[str, Sequence[Entry]]]:
    grouped: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.queue].append(entry)
    return list(grouped.items())
