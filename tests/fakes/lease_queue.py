"""The lease queue in memory. `tests/adapters` runs one suite on it and on Redis, and a state
machine compares the two after every step.

Redis's clock is the `ManualClock`. A test can make it fail (`fail_next`, `go_down`), lose all
(`wipe`) and become another server (`fail_over`).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

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
    Room,
    WatcherView,
    WorkerView,
)
from pipeline.queue.views import Waiting as WaitingJob
from pipeline.queue.views import in_order, waits_for
from tests.fakes.faults import Faulty, may_fail
from tests.fakes.limit_keys import FULL, MAY_RUN, room_of
from tests.fakes.queue_part import Given, Held, Part, Waiting, rank
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
        self._watchers: dict[str, tuple[WatcherView, int]] = {}
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
        if worker in self._workers:
            view, until = self._workers[worker]
            self._workers[worker] = (replace(view, running=running), until)

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
        head, news, touched = part.soonest, False, set()
        for entry in entries:
            waiting = Waiting(to_ms(entry.due_at), entry.priority, entry.limit)
            before = part.ready.pop(entry.job_id, None)
            part.delayed.pop(entry.job_id, None)
            due = waiting.due <= now
            (part.ready if due else part.delayed)[entry.job_id] = waiting
            touched |= {each.limit.key for each in (before, waiting if due else None)
                        if each and each.limit}  # fmt: skip
            news |= due and entry.limit is None
        news |= part.keys_of_limits.judge(part.firsts(touched), now)
        soonest = part.soonest
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
            job_ids = self._take(queue, limit)
            deadline = now + ttl // _MS
            self._hold(part, dict.fromkeys(job_ids, f"{worker} {lease_id}"), deadline)
            if job_ids:
                part.grants[worker] = Given(lease_id, job_ids, deadline)
        next_look = self._next_look(part)
        room, _, _ = room_of(part.limit, part.keys_of_limits, len(part.leased), now)
        is_fill = len(job_ids) == limit and not given_again(given, lease_id)
        if is_fill and room > 0 and (next_look is not None or part.startable):
            self._wakeups.leave(queue)
        next_due_at = None if next_look is None else from_ms(next_look)
        return Grant(job_ids, from_ms(now), next_due_at, part.paused)

    def _take(self, queue: str, limit: int) -> list[str]:
        part, now, keys = self.part(queue), self._now(), self.part(queue).keys_of_limits
        leases, tokens, _ = room_of(part.limit, keys, len(part.leased), now)
        allowed = int(max(0, min(limit, leases, tokens)))
        if allowed:
            self._promote(part)
        taken = self._startable_in_order(part, allowed)
        limited = {job_id: one.limit.key for job_id in taken if (one := part.ready[job_id]).limit}
        tokens_of = {
            job_id: one.limit.rate.interval_ms
            for job_id in taken
            if (one := part.ready[job_id]).limit and one.limit.rate
        }
        for job_id in taken:
            del part.ready[job_id]
        if part.limit.rate is not None and taken:
            keys.spend("", part.limit.rate, now, len(taken))
        took = {job_id: token for job_id in taken if (token := tokens_of.get(job_id))}
        full = keys.hold(taken, limited, took)
        keys.judge(part.firsts({*limited.values()} | full), now)
        return taken

    def _promote(self, part: Part) -> None:
        now, keys = self._now(), part.keys_of_limits
        touched = {key for key, at in keys.verdicts.items() if FULL < at <= now}
        for job_id, waiting in list(part.delayed.items()):
            if waiting.due <= now:
                part.ready[job_id] = part.delayed.pop(job_id)
                touched |= {waiting.limit.key} if waiting.limit else set()
        keys.judge(part.firsts(touched), now)

    def _startable_in_order(self, part: Part, limit: int) -> list[str]:
        """Take in order; the first of a key that may not run holds back those behind it."""
        keys, now, taken = part.keys_of_limits, self._now(), list[str]()
        running = Counter(keys.running)
        for job_id in sorted(part.startable, key=lambda job_id: rank(job_id, part.ready[job_id])):
            if len(taken) == limit:
                break
            asked = part.ready[job_id].limit
            if asked is not None:
                if keys.verdicts[asked.key] != MAY_RUN:
                    continue
                keys.verdicts[asked.key] = keys.verdict(asked, now, running[asked.key])
                if keys.verdicts[asked.key] != MAY_RUN:
                    continue
                running[asked.key] += 1
                if asked.rate is not None:
                    keys.spend(asked.key, asked.rate, now, 1)
            taken.append(job_id)
        return taken

    def _next_look(self, part: Part) -> int | None:
        now = self._now()
        leases, tokens, again = room_of(part.limit, part.keys_of_limits, len(part.leased), now)
        if part.paused or leases <= 0:
            return None
        if tokens >= 1:
            return part.soonest
        if part.startable:
            return again
        return None if part.soonest is None else max(part.soonest, again)

    def _hold(self, part: Part, owners: dict[str, str], deadline: int) -> None:
        for job_id, owner in owners.items():
            part.leased[job_id] = deadline
            part.keys[job_id] = Held(owner, deadline)

    @may_fail
    async def extend(self, leases: Sequence[Lease], ttl: timedelta) -> None:
        """As the port says."""
        for lease in leases:
            part, deadline = self.part(lease.queue), self._now() + ttl // _MS
            self._hold(part, {lease.job_id: _owner(lease)}, deadline)
            key = {lease.job_id: lease.limit_key} if lease.limit_key else {}
            full = part.keys_of_limits.hold([lease.job_id], key)
            if part.keys_of_limits.judge(part.firsts(full), self._now()):
                self._wakeups.leave(lease.queue)

    @may_fail
    async def ack(self, leases: Sequence[Lease]) -> None:
        """As the port says."""
        ended: defaultdict[str, list[str]] = defaultdict(list)
        for lease in leases:
            if self._release(lease):
                ended[lease.queue].append(lease.job_id)
        for queue, job_ids in ended.items():
            self._ended(queue, job_ids)

    def _ended(self, queue: str, job_ids: Sequence[str]) -> None:
        """Free what these leases held, and wake if that lets something run."""
        part, most = self.part(queue), self.part(queue).limit.concurrency
        full = part.keys_of_limits.hold(job_ids, {})
        may = part.keys_of_limits.judge(part.firsts(full), self._now())
        left = len(part.leased)
        if most is not None and left < most <= left + len(job_ids):
            may |= bool(part.startable) or part.soonest is not None
        if may:
            self._wakeups.leave(queue)

    @may_fail
    async def forgo(self, leases: Sequence[Lease]) -> None:
        """As the port says."""
        ended: defaultdict[str, list[str]] = defaultdict(list)
        for lease in leases:
            if self._release(lease):
                ended[lease.queue].append(lease.job_id)
        for queue, job_ids in ended.items():
            self._refund(queue, job_ids)
            self._ended(queue, job_ids)

    def _refund(self, queue: str, job_ids: Sequence[str]) -> None:
        """What these leases took of rates."""
        part, now = self.part(queue), self._now()
        keys, rate = part.keys_of_limits, part.limit.rate
        back: defaultdict[str, float] = defaultdict(float)
        for job_id in job_ids:
            if job_id in keys.took:
                back[keys.held[job_id]] += keys.took[job_id]
        may = rate is not None and (bool(part.startable) or part.soonest is not None)
        touched = list(back)
        if rate is not None and job_ids:
            back[""] = len(job_ids) * rate.interval_ms
        for key, tokens in back.items():
            keys.spent[key] = keys.spent.get(key, 0) - tokens
        if keys.judge(part.firsts(touched), now) or (may and job_ids):
            self._wakeups.leave(queue)

    @may_fail
    async def give_back(self, returns: Sequence[tuple[Lease, Entry]]) -> None:
        """As the port says."""
        mine: defaultdict[str, list[Entry]] = defaultdict(list)
        for lease, entry in returns:
            if self._release(lease):
                mine[lease.queue].append(entry)
        for queue, group in mine.items():
            job_ids = [entry.job_id for entry in group]
            self._refund(queue, job_ids)
            self._ended(queue, job_ids)
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
        self._ended(queue, [entry.job_id for entry in moved])
        self._place(queue, moved)
        return len(moved)

    @may_fail
    async def drop(self, queue: str, expired: Sequence[ExpiredLease]) -> int:
        """As the port says."""
        dropped = [lease.job_id for lease in expired if self._drop_if_same(queue, lease)]
        self._ended(queue, dropped)
        return len(dropped)

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
        return self._view(queue)

    @may_fail
    async def views(self, queues: Sequence[str]) -> Sequence[QueueView]:
        """As the port says."""
        return [self._view(queue) for queue in queues]

    def _view(self, queue: str) -> QueueView:
        part, now = self.part(queue), self._now()
        late = [waiting.due for waiting in part.delayed.values() if waiting.due <= now]
        startable = [waiting.due for waiting in part.next_ones]
        tokens = [int(at) for at in part.keys_of_limits.verdicts.values() if FULL < at <= now]
        wait = (now - min(startable + late + tokens, default=now)) * _MS
        leases, there, again = room_of(part.limit, part.keys_of_limits, len(part.leased), now)
        token_in = (again - now) * _MS if leases > 0 and there < 1 else None
        return QueueView(
            name=queue,
            delayed=len(part.delayed) - len(late),
            ready=len(part.ready) + len(late),
            leased=len(part.leased),
            paused=part.paused,
            oldest_wait=wait,
            limited=sum(waiting.limit is not None for waiting in part.ready.values()),
            limit=part.limit.text,
            room=Room(leases <= 0, token_in),
        )

    @may_fail
    async def peek(self, queue: str, limit: int) -> Sequence[Peeked]:
        """As the port says."""
        part, now = self.part(queue), self._now()
        found = [
            WaitingJob(job_id, one.priority, one.due, None if one.limit is None else "")
            for job_id, one in (part.delayed | part.ready).items()
        ]
        why = self._reasons(part)
        found = [
            one._replace(waits_for=why.get(one.job_id) if one.due <= now else None) for one in found
        ]
        return in_order(found, now)[:limit]

    def _reasons(self, part: Part) -> dict[str, str]:
        """Why limits hold these jobs back."""
        keys, reasons = part.keys_of_limits, dict[str, str]()
        numbers = Counter(keys.running)
        for job_id in sorted(part.ready, key=lambda job_id: rank(job_id, part.ready[job_id])):
            limit = part.ready[job_id].limit
            if limit is None:
                continue
            room = self._room(keys.verdicts[limit.key])
            if room.is_there and limit.concurrency is not None:
                room = Room(is_full=numbers[limit.key] >= limit.concurrency)
            numbers[limit.key] += 1
            if not room.is_there:
                running = keys.running.get(limit.key, 0)
                reasons[job_id] = waits_for(limit.key, room, running, limit.concurrency)
        return reasons

    def _room(self, verdict: float) -> Room:
        ahead = verdict - self._now()
        token_in = int(ahead) * _MS if verdict > FULL and ahead > 0 else None
        return Room(verdict == FULL, token_in)

    @may_fail
    async def limit(self, queue: str, limit: Limit) -> None:
        """As the port says."""
        part = self._parts[queue]
        part.limit = limit
        if part.startable or part.soonest is not None:
            self._wakeups.leave(queue)

    @may_fail
    async def full_keys(self, queue: str, limit: int) -> Sequence[KeyView]:
        """As the port says."""
        part = self.part(queue)
        keys, waiting = (
            part.keys_of_limits,
            Counter(one.limit.key for one in part.ready.values() if one.limit),
        )
        full = sorted((at, key) for key, at in keys.verdicts.items() if at >= FULL)
        firsts = part.firsts(key for _, key in full)
        return [
            KeyView(key, waiting[key], keys.running.get(key, 0), first.concurrency, self._room(at))
            for at, key in full[:limit]
            if (first := firsts[key]) is not None
        ]

    @may_fail
    async def recount(self, queue: str) -> None:
        """As the port says."""
        part, now = self.part(queue), self._now()
        keys = part.keys_of_limits
        keys.held = {job_id: key for job_id, key in keys.held.items() if job_id in part.leased}
        keys.spent = {key: until for key, until in keys.spent.items() if until > now}
        if keys.judge(part.firsts(list(keys.verdicts)), now):
            self._wakeups.leave(queue)

    @may_fail
    async def pause(self, queue: str) -> None:
        """As the port says."""
        self._parts[queue].paused = True

    @may_fail
    async def resume(self, queue: str) -> None:
        """As the port says."""
        part = self._parts[queue]
        part.paused = False
        if part.startable or part.soonest is not None:
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

    # -- workers

    @may_fail
    async def announce_worker(self, view: WorkerView, ttl: timedelta) -> None:
        """As the port says."""
        seen = replace(view, last_seen_at=self._clock.now())
        self._workers[view.id] = (seen, self._now() + ttl // _MS)

    @may_fail
    async def announce_watcher(self, view: WatcherView, ttl: timedelta) -> None:
        """As the port says."""
        seen = replace(view, last_seen_at=self._clock.now())
        self._watchers[view.id] = (seen, self._now() + ttl // _MS)

    @may_fail
    async def retract_watcher(self, watcher: str) -> None:
        """As the port says."""
        self._watchers.pop(watcher, None)

    @may_fail
    async def watchers(self) -> Sequence[WatcherView]:
        """As the port says."""
        alive = [view for view, until in self._watchers.values() if until > self._now()]
        return sorted(alive, key=lambda view: view.id)

    @may_fail
    async def retract_worker(self, worker: str) -> None:
        """As the port says."""
        self._workers.pop(worker, None)

    @may_fail
    async def workers(self) -> Sequence[WorkerView]:
        """As the port says."""
        alive = [view for view, until in self._workers.values() if until > self._now()]
        return sorted(alive, key=lambda view: view.id)

    @may_fail
    async def report_death(self, death: Death) -> bool:
        """As the port says."""
        ours = [v.id for v in await self.workers() if (v.host, v.pid) == (death.host, death.pid)]
        for worker in ours:
            self._deaths[worker] = death
            del self._workers[worker]
        return bool(ours)

    @may_fail
    async def deaths(self, workers: Sequence[str]) -> Mapping[str, Death]:
        """As the port says."""
        return {worker: self._deaths[worker] for worker in workers if worker in self._deaths}


def _owner(lease: Lease) -> str:
    return f"{lease.worker} {lease.lease_id}"


def given_again(given: Given | None, lease_id: str) -> bool:
    """Whether a lease call is the repeat of one that was answered."""
    return given is not None and given.lease_id == lease_id


def _by_queue(entries: Sequence[Entry]) -> Sequence[tuple[str, Sequence[Entry]]]:
    grouped: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.queue].append(entry)
    return list(grouped.items())
