"""One queue's part of a Redis in memory: what it holds, and how jobs move inside it.

Every step is told the instant (ms); what says so returns whether a sleeper should look.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.domain.instants import to_ms
from pipeline.domain.job import Entry
from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit
from pipeline.domain.priority import ready_score
from tests.fakes.limit_keys import FULL, MAY_RUN, LimitKeys, room_of


@dataclass(frozen=True)
class Waiting:
    """A member of ready or delayed; ms."""

    due: int
    priority: int
    limit: KeyLimit | None = None


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
    """The keys of one queue. `leased` is job id → deadline in ms.

    What is due and has a limit is in `ready`, whether its key has room or not.
    """

    ready: dict[str, Waiting] = field(default_factory=dict)
    delayed: dict[str, Waiting] = field(default_factory=dict)
    leased: dict[str, int] = field(default_factory=dict)
    keys: dict[str, Held] = field(default_factory=dict)
    grants: dict[str, Given] = field(default_factory=dict)
    paused: bool = False
    generation: str | None = None
    limit: Limit = NO_LIMIT
    keys_of_limits: LimitKeys = field(default_factory=LimitKeys)

    # -- what is there

    def firsts(self, keys: Iterable[str]) -> Mapping[str, KeyLimit | None]:
        """The limit of the first due job of each of these keys."""
        found: dict[str, KeyLimit | None] = dict.fromkeys(keys)
        for job_id in sorted(self.ready, key=lambda job_id: rank(job_id, self.ready[job_id])):
            limit = self.ready[job_id].limit
            if limit is not None and limit.key in found and found[limit.key] is None:
                found[limit.key] = limit
        return found

    @property
    def startable(self) -> Mapping[str, Waiting]:
        """Those in ready whose keys, as they were judged, may run."""
        verdicts = self.keys_of_limits.verdicts
        return {
            job_id: waiting
            for job_id, waiting in self.ready.items()
            if waiting.limit is None or verdicts[waiting.limit.key] == MAY_RUN
        }

    @property
    def next_ones(self) -> Sequence[Waiting]:
        """Of those the ones that come next: of each key the first."""
        found: dict[str, Waiting] = {}
        startable = self.startable
        for job_id in sorted(startable, key=lambda job_id: rank(job_id, startable[job_id])):
            waiting = startable[job_id]
            found.setdefault(rank(job_id, waiting)[1], waiting)
        return list(found.values())

    @property
    def soonest(self) -> int | None:
        """When a timer has to ring: a job is due, or a key has a token."""
        dues = [waiting.due for waiting in self.delayed.values()]
        tokens = [int(at) for at in self.keys_of_limits.verdicts.values() if at > FULL]
        return min(dues + tokens, default=None)

    @property
    def is_of_interest(self) -> bool:
        """Whether there is anything to lease, or to wait for."""
        return bool(self.startable) or self.soonest is not None

    def room(self, now: int) -> tuple[float, float, int]:
        """What the queue's own limit leaves: as `room_of`."""
        return room_of(self.limit, self.keys_of_limits, len(self.leased), now)

    # -- putting in

    def place(self, entries: Sequence[Entry], now: int) -> bool:
        """Each into ready or delayed, and nowhere else."""
        head, news, touched = self.soonest, False, set()
        for entry in entries:
            waiting = Waiting(to_ms(entry.due_at), entry.priority, entry.limit)
            before = self.ready.pop(entry.job_id, None)
            self.delayed.pop(entry.job_id, None)
            due = waiting.due <= now
            (self.ready if due else self.delayed)[entry.job_id] = waiting
            touched |= {each.limit.key for each in (before, waiting if due else None)
                        if each and each.limit}  # fmt: skip
            news |= due and entry.limit is None
        news |= self.judge(touched, now)
        soonest = self.soonest
        return news or (bool(entries) and soonest is not None and (head is None or soonest < head))

    def judge(self, keys: Iterable[str], now: int) -> bool:
        """Judge these keys by the first job that waits for each."""
        return self.keys_of_limits.judge(self.firsts(keys), now)

    # -- leasing

    def take(self, limit: int, now: int) -> list[str]:
        """Move what is due to ready, and take of it in order what limits allow."""
        keys = self.keys_of_limits
        leases, tokens, _ = self.room(now)
        allowed = int(max(0, min(limit, leases, tokens)))
        if allowed:
            self._promote(now)
        taken = self._startable_in_order(allowed, now)
        limited = {job_id: one.limit.key for job_id in taken if (one := self.ready[job_id]).limit}
        tokens_of = {
            job_id: one.limit.rate.interval_ms
            for job_id in taken
            if (one := self.ready[job_id]).limit and one.limit.rate
        }
        for job_id in taken:
            del self.ready[job_id]
        if self.limit.rate is not None and taken:
            keys.spend("", self.limit.rate, now, len(taken))
        took = {job_id: token for job_id in taken if (token := tokens_of.get(job_id))}
        full = keys.hold(taken, limited, took)
        self.judge({*limited.values()} | full, now)
        return taken

    def _promote(self, now: int) -> None:
        touched = {key for key, at in self.keys_of_limits.verdicts.items() if FULL < at <= now}
        for job_id, waiting in list(self.delayed.items()):
            if waiting.due <= now:
                self.ready[job_id] = self.delayed.pop(job_id)
                touched |= {waiting.limit.key} if waiting.limit else set()
        self.judge(touched, now)

    def _startable_in_order(self, limit: int, now: int) -> list[str]:
        """Take in order; the first of a key that may not run holds back those behind it."""
        keys, taken = self.keys_of_limits, list[str]()
        running = Counter(keys.running)
        for job_id in sorted(self.startable, key=lambda job_id: rank(job_id, self.ready[job_id])):
            if len(taken) == limit:
                break
            asked = self.ready[job_id].limit
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

    def next_look(self, now: int) -> int | None:
        """When a worker that found no more should look again, if a timer can tell."""
        leases, tokens, again = self.room(now)
        if self.paused or leases <= 0:
            return None
        if tokens >= 1:
            return self.soonest
        if self.startable:
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
        keys, rate = self.keys_of_limits, self.limit.rate
        may = rate is not None and bool(job_ids) and self.is_of_interest
        back: defaultdict[str, float] = defaultdict(float)
        for job_id in job_ids:
            if job_id in keys.took:
                back[keys.held[job_id]] += keys.took[job_id]
        touched = list(back)
        if rate is not None and job_ids:
            back[""] = len(job_ids) * rate.interval_ms
        for key, tokens in back.items():
            keys.spent[key] = keys.spent.get(key, 0) - tokens
        return self.judge(touched, now) or may

    def ended(self, job_ids: Sequence[str], now: int) -> bool:
        """Free what these leases held."""
        most, left = self.limit.concurrency, len(self.leased)
        may = self.judge(self.keys_of_limits.hold(job_ids, {}), now)
        if most is not None and left < most <= left + len(job_ids):
            may |= self.is_of_interest
        return may


def rank(job_id: str, waiting: Waiting) -> tuple[int, str, str]:
    """The order in which jobs are leased; a key's stand where its mark would."""
    mark = job_id if waiting.limit is None else f"={waiting.limit.key}"
    return ready_score(waiting.priority, waiting.due), mark, job_id
