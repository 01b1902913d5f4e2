"""One queue's part of a Redis in memory: what it holds, and how jobs move inside it.

Every step is told the instant (ms); what says so returns whether a sleeper should look.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.domain.instants import to_ms
from pipeline.domain.job import Entry
from pipeline.domain.limits import NO_LIMIT, Limit
from pipeline.domain.priority import DEFAULT
from tests.fakes.limit_keys import CLAIMED, FULL, LimitKeys, Slot, Waiting, room_of


@dataclass(frozen=True)
class Held:
    """A lease key: `<worker> <lease id>`, and when it expires (ms)."""

    owner: str
    until: int


@dataclass(frozen=True)
class Given:
    """What a worker's last lease call gave, and when that is forgotten (ms)."""

    lease_id: str
    job_ids: Sequence[str]
    until: int


@dataclass
class Part:
    """The keys of one queue. `leased` is job id → deadline in ms."""

    ready: dict[str, Waiting] = field(default_factory=dict)
    delayed: dict[str, Waiting] = field(default_factory=dict)
    leased: dict[str, int] = field(default_factory=dict)
    keys: dict[str, Held] = field(default_factory=dict)
    grants: dict[str, Given] = field(default_factory=dict)
    paused: bool = False
    generation: str | None = None
    limit: Limit = NO_LIMIT
    limits: LimitKeys = field(default_factory=LimitKeys)

    # -- what is there

    @property
    def waiting(self) -> Mapping[str, Waiting]:
        """All that wait, wherever they do."""
        return self.ready | self.delayed | self.limits.waits

    @property
    def soonest(self) -> int | None:
        """When a timer has to ring: a job is due, or a key has a token."""
        dues = [waiting.due for waiting in self.delayed.values()]
        tokens = [int(at) for at in self.limits.verdicts.values() if at > CLAIMED]
        return min(dues + tokens, default=None)

    def is_sooner(self, head: int | None) -> bool:
        """Whether a timer has to ring before those of sleepers, which ring at `head`."""
        soonest = self.soonest
        return soonest is not None and (head is None or soonest < head)

    @property
    def is_of_interest(self) -> bool:
        """Whether there is anything to lease, or to wait for."""
        return bool(self.ready) or self.soonest is not None

    def room(self, now: int) -> tuple[float, float, int]:
        """What the queue's own limit leaves: as `room_of`."""
        return room_of(self.limit, self.limits, len(self.leased), now)

    # -- putting in

    def place(self, entries: Sequence[Entry], now: int) -> bool:
        """Each into ready, delayed or a line, and nowhere else."""
        head, touched, plain, keyed = self.soonest, set[str](), False, dict[str, Waiting]()
        last = {entry.job_id: entry for entry in entries}.values()
        self._activate(last)
        for entry in last:
            job_id, waiting = (
                entry.job_id,
                Waiting(to_ms(entry.due_at), entry.priority, entry.limit),
            )
            self.ready.pop(job_id, None)
            self.delayed.pop(job_id, None)
            touched |= self._leave(job_id, waiting, waiting.due > now)
            if waiting.due > now:
                self.delayed[job_id] = waiting
            elif waiting.limit is None:
                self.ready[job_id], plain = waiting, True
            else:
                keyed[job_id] = waiting
        may = self._arrive(keyed, touched, now) or plain
        return may or (bool(entries) and self.is_sooner(head))

    def withdraw(self, job_ids: Iterable[str], now: int) -> bool:
        """These wait no more, but for what is leased."""
        head, touched = self.soonest, set[str]()
        for job_id in set(job_ids) - self.leased.keys():
            self.ready.pop(job_id, None)
            self.delayed.pop(job_id, None)
            touched |= self.limits.leave(job_id, None, is_leased=False, is_late=True)
        return self._arrive({}, touched, now) or self.is_sooner(head)

    def _activate(self, entries: Iterable[Entry]) -> None:
        limits = [entry.limit for entry in entries if entry.limit]
        if any(limit.rate for limit in limits):
            self.limits.active = "rates"
        elif limits:
            self.limits.active = self.limits.active or "keys"

    def _leave(self, job_id: str, waiting: Waiting, is_late: bool) -> set[str]:
        limit = None if is_late else waiting.limit
        return self.limits.leave(job_id, limit, job_id in self.leased, is_late)

    def _arrive(self, jobs: Mapping[str, Waiting], touched: set[str], now: int) -> bool:
        """These have keys and are due."""
        self.limits.waits |= jobs
        keys = touched | {one.limit.key for one in jobs.values() if one.limit}
        return self.judge(keys, now) | self._reorder(keys, now)

    def judge(self, keys: Iterable[str], now: int, only: int | None = None) -> bool:
        """Give slots to those in line; whether anybody got one."""
        seated = self.limits.call_up(keys, now, only)
        self.ready |= seated
        return bool(seated)

    # -- who is urgent

    def _reorder(self, keys: Iterable[str], now: int) -> bool:
        """Where one in line comes before one in ready, they change places."""
        may = False
        for key in keys:
            while line := self.limits.line(key):
                first = self.limits.waits[line[0]].rank(line[0])
                last = self._last_in_ready(key, first)
                if last is None:
                    break
                self._send_back(last)
                may |= self.judge([key], now)
        return may

    def _last_in_ready(self, key: str, after: tuple[int, str] | None = None) -> str | None:
        """The last of a key in ready; who is leased on the way stands in no order any more."""
        slots = self.limits.slots
        ranks = [(slot.place.rank(job), job) for job, slot in slots.items()
                 if slot.key == key and slot.place]  # fmt: skip
        for rank, job_id in sorted(ranks, reverse=True):
            if after is not None and rank <= after:
                break
            if job_id in self.ready:
                return job_id
            slots[job_id] = Slot(key, limit=slots[job_id].limit)
        return None

    def _send_back(self, job_id: str) -> None:
        slot = self.limits.slots.pop(job_id)
        self.limits.claims.discard(job_id)
        self.limits.waits[job_id] = self.ready.pop(job_id)
        self.limits.verdicts.setdefault(slot.key, FULL)
        if job_id in self.leased:
            self.limits.slots[job_id] = Slot(slot.key)
            self.limits.twice.add(job_id)

    # -- leasing

    def take(self, limit: int, now: int) -> tuple[list[str], bool]:
        """Move what is due to ready, and take of it in order what limits allow; whether that let
        others into ready."""
        leases, tokens, _ = self.room(now)
        allowed = int(max(0, min(limit, leases, tokens)))
        if allowed:
            self._promote(now)
        ranked = sorted(self.ready, key=lambda job_id: self.ready[job_id].rank(job_id))
        taken = ranked[:allowed]
        for job_id in taken:
            del self.ready[job_id]
        may = self.judge(self._start(taken, now), now, CLAIMED)
        if self.limit.rate is not None and taken:
            self.limits.spend("", self.limit.rate, now, len(taken))
        return taken, may

    def _promote(self, now: int) -> None:
        limits = self.limits
        touched = {key for key, at in limits.verdicts.items() if CLAIMED < at <= now}
        due = {
            job: self.delayed.pop(job) for job, one in list(self.delayed.items()) if one.due <= now
        }
        self.ready |= {job: one for job, one in due.items() if one.limit is None}
        keyed = {job: one for job, one in due.items() if one.limit is not None}
        for job_id, waiting in keyed.items():
            touched |= self._leave(job_id, waiting, is_late=False)
        self._arrive(keyed, touched, now)

    def _start(self, job_ids: Iterable[str], now: int) -> set[str]:
        """Take tokens for those that need them: whose they are."""
        limits, keys = self.limits, set[str]()
        for job_id in job_ids:
            slot = limits.slots.get(job_id)
            if slot and slot.place and slot.place.limit and slot.place.limit.rate:
                limits.spend(slot.key, slot.place.limit.rate, now, 1)
                limits.claims.discard(job_id)
                keys.add(slot.key)
        return keys

    def next_look(self, now: int) -> int | None:
        """When a worker that found no more should look again, if a timer can tell."""
        leases, tokens, again = self.room(now)
        if self.paused or leases <= 0:
            return None
        if tokens >= 1:
            return self.soonest
        if self.ready:
            return again
        return None if self.soonest is None else max(self.soonest, again)

    def hold(self, job_ids: Iterable[str], owner: str, deadline: int) -> None:
        """These are leased by `<worker> <lease id>`."""
        for job_id in job_ids:
            self.leased[job_id] = deadline
            self.keys[job_id] = Held(owner, deadline)

    # -- what ends a lease

    def let_go(self, job_id: str, owner: str) -> bool:
        """Remove the lease if it is still this one; whether it was."""
        held = self.keys.get(job_id)
        if held is None or held.owner != owner:
            return False
        del self.keys[job_id]
        self.leased.pop(job_id, None)
        return True

    def drop(self, job_id: str, deadline: int, now: int) -> bool:
        """Remove the lease if it has run out and is still this one; whether it was."""
        if self.leased.get(job_id) != deadline or deadline > now:
            return False
        del self.leased[job_id]
        self.keys.pop(job_id, None)
        return True

    def refund(self, job_ids: Sequence[str], now: int) -> bool:
        """Give back what these leases took of rates, before they end."""
        keys, rate = self.limits, self.limit.rate
        may = rate is not None and bool(job_ids) and self.is_of_interest
        back: defaultdict[str, float] = defaultdict(float)
        for job_id in job_ids:
            slot = keys.slots.get(job_id)
            if slot and slot.limit and slot.limit.rate and job_id not in keys.twice:
                back[slot.key] += slot.limit.rate.interval_ms
        touched = list(back)
        if rate is not None and job_ids:
            back[""] = len(job_ids) * rate.interval_ms
        for key, tokens in back.items():
            keys.spent[key] = keys.spent.get(key, 0) - tokens
        head = self.soonest
        return self.judge(touched, now) or may or self.is_sooner(head)

    def ended(self, job_ids: Sequence[str], now: int) -> bool:
        """Free what these leases held."""
        head = self.soonest
        may = self.judge(self.limits.free(job_ids, self.ready), now, FULL)
        return self.has_room(len(job_ids)) or may or self.is_sooner(head)

    def has_room(self, count: int) -> bool:
        """Whether so many that have ended let somebody run who waits for the queue's own limit."""
        most, left = self.limit.concurrency, len(self.leased)
        return most is not None and left < most <= left + count and self.is_of_interest

    # -- who runs, as its heartbeat says

    def run_under(self, keys: Sequence[tuple[str, str | None]], now: int) -> bool:
        """These jobs run under these keys: one slot of its key is each one's own."""
        head = self.soonest
        changes = [self._run_under(job_id, key) for job_id, key in keys]
        for _, fuller in changes:
            if fuller is not None:
                self._shrink(fuller)
        touched = {key for change in changes for key in change if key is not None}
        may = self.judge(touched & self.limits.verdicts.keys(), now)
        return may or self.is_sooner(head)

    def _run_under(self, job_id: str, key: str | None) -> tuple[str | None, str | None]:
        """The key that has one slot less taken, and the one that has one more."""
        limits = self.limits
        slot, line = limits.slots.get(job_id), limits.waits.get(job_id)
        if key:
            limits.active = limits.active or "keys"
        if line is not None or (slot is not None and job_id in self.ready):
            limits.twice.add(job_id)
        before = slot.key if slot else None
        is_beside = line is not None and line.limit is not None and line.limit.key == key
        if job_id in self.ready or before == key or (line is not None and not is_beside):
            return None, None
        if slot is not None and line is None:
            del limits.slots[job_id]
        if key is not None:
            limits.slots[job_id] = Slot(key)
        return before, key

    def _shrink(self, key: str) -> None:
        """More run than was known: as many as are too many leave ready and are in line."""
        while (last := self._last_in_ready(key)) is not None:
            limit = self.ready[last].limit
            most = limit.concurrency if limit else None
            if most is None or self.limits.taken(key) <= most:
                return
            self._send_back(last)

    def recount(self, now: int) -> bool:
        """Whoever has a slot is leased or in ready; all keys are judged anew."""
        limits, head = self.limits, self.soonest
        gone = limits.slots.keys() - self.leased.keys() - self.ready.keys() - limits.waits.keys()
        touched = {limits.slots.pop(job_id).key for job_id in gone}
        limits.spent = {key: until for key, until in limits.spent.items() if until > now}
        may = self.judge(touched & limits.verdicts.keys(), now)
        may |= self.judge(list(limits.verdicts), now)
        if (
            not limits.slots
            and not limits.waits
            and not any(one.limit or one.priority != DEFAULT for one in self.delayed.values())
        ):
            limits.active = None
        return may or self.is_sooner(head)
