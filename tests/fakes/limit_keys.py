"""What limit keys of one queue hold back, in memory, and why.

A due job of a key has a slot of it, or is in line. The first in line is judged when something about
its key changes, and the verdict stands until then: 2, a slot has to become free; 3, one that has a
claim to a token has to start; else the instant (ms) of the next token. The queue's own tokens are
those of the key "".
"""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.domain.limits import KeyLimit, Limit, Rate
from pipeline.domain.priority import ready_score

MAY_RUN, FULL, CLAIMED = 1, 2, 3
_SLOP = 0.01


@dataclass(frozen=True)
class Waiting:
    """A job that is due or delayed; ms."""

    due: int
    priority: int
    limit: KeyLimit | None = None

    def rank(self, job_id: str) -> tuple[int, str]:
        """The order in which jobs are leased."""
        return ready_score(self.priority, self.due), job_id


@dataclass(frozen=True)
class Slot:
    """Of whom it is; where it stands in the order of ready, if it does; what its job said."""

    key: str
    place: Waiting | None = None
    limit: KeyLimit | None = None


@dataclass
class LimitKeys:
    """`waits` are in line; `claims` are in ready and want a token; `twice` were put in anew before
    their lease has ended."""

    waits: dict[str, Waiting] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    claims: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    spent: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, float] = field(default_factory=dict)
    active: str | None = None

    # -- tokens

    def tokens(self, key: str, rate: Rate, now: int, claimed: int = 0) -> tuple[int, int]:
        """How many there are beside those that are claimed, and when to look again if none."""
        step, left = rate.interval_ms, rate.capacity - claimed
        ahead = self._ahead(key, rate, now)
        there = math.floor((step * left - ahead + _SLOP) / step)
        gathered = max(1, min(left, math.floor(10 / step)))
        return there, now + max(1, math.ceil(ahead - (left - gathered) * step - _SLOP))

    def spend(self, key: str, rate: Rate, now: int, count: int) -> None:
        """Take so many tokens."""
        self.spent[key] = now + self._ahead(key, rate, now) + count * rate.interval_ms

    def forgive(self, key: str, rate: Rate, now: int) -> None:
        """What other numbers have spent beyond this bucket counts no more."""
        if key in self.spent:
            self.spent[key] = min(self.spent[key], now + rate.interval_ms * rate.capacity)

    def _ahead(self, key: str, rate: Rate, now: int) -> float:
        ahead = max(self.spent.get(key, 0) - now, 0)
        return min(ahead, rate.interval_ms * rate.capacity)

    # -- verdicts

    def taken(self, key: str) -> int:
        """How many slots of it jobs have."""
        return sum(slot.key == key for slot in self.slots.values())

    def line(self, key: str) -> Sequence[str]:
        """Who is in line for it, in order."""
        waits = self.waits.items()
        found = [(one.rank(job), job) for job, one in waits if one.limit and one.limit.key == key]
        return [job_id for _, job_id in sorted(found)]

    def verdict(self, job_id: str, now: int) -> float:
        """Whether this job in line may have a slot beside those that others have."""
        limit = self.waits[job_id].limit
        assert limit is not None
        if limit.concurrency is not None and self.taken(limit.key) >= limit.concurrency:
            return FULL
        if limit.rate is None:
            return MAY_RUN
        claimed = sum(self.slots[job].key == limit.key for job in self.claims)
        if claimed >= limit.rate.capacity:
            return CLAIMED
        self.forgive(limit.key, limit.rate, now)
        there, again = self.tokens(limit.key, limit.rate, now, claimed)
        return MAY_RUN if there > 0 else again

    def call_up(
        self, keys: Iterable[str], now: int, only: int | None = None
    ) -> Mapping[str, Waiting]:
        """Give slots to those in line for these keys, as far as they may run: to whom."""
        seated: dict[str, Waiting] = {}
        for key in keys:
            if only is None or self.verdicts.get(key) == only:
                self.verdicts.pop(key, None)
                seated |= self._call_up(key, now)
        return seated

    def _call_up(self, key: str, now: int) -> Mapping[str, Waiting]:
        seated: dict[str, Waiting] = {}
        for job_id in self.line(key):
            verdict = self.verdict(job_id, now)
            if verdict != MAY_RUN:
                self.verdicts[key] = verdict
                break
            one = seated[job_id] = self.waits.pop(job_id)
            self.slots[job_id] = Slot(key, one, one.limit)
            self.claims |= {job_id} if one.limit and one.limit.rate else set()
        return seated

    # -- whose lease has ended, and who is put in anew

    def free(self, job_ids: Iterable[str], ready: Container[str]) -> set[str]:
        """These leases have ended; the keys that have room again."""
        keys: set[str] = set()
        for job_id in job_ids:
            waits_too, slot = job_id in self.twice, self.slots.get(job_id)
            self.twice.discard(job_id)
            if slot is not None and not (waits_too and job_id in ready):
                del self.slots[job_id]
                keys.add(slot.key)
        return keys

    def leave(
        self, job_id: str, limit: KeyLimit | None, is_leased: bool, is_late: bool
    ) -> set[str]:
        """This job is put in anew, due with this limit or late: keys that have room again."""
        self.twice -= set() if is_leased else {job_id}
        self.twice |= {job_id} if is_leased and limit is not None else set()
        self.claims.discard(job_id)
        slot, line = self.slots.pop(job_id, None), self.waits.pop(job_id, None)
        key = slot.key if slot else line.limit.key if line and line.limit else None
        if slot and is_leased and (is_late or (limit is not None and limit.key == slot.key)):
            self.slots[job_id] = Slot(slot.key)
        return set() if key is None else {key}


def room_of(limit: Limit, keys: LimitKeys, leased: int, now: int) -> tuple[float, float, int]:
    """What a queue's own limit leaves: leases, tokens, and when to look for the next token."""
    leases = math.inf if limit.concurrency is None else limit.concurrency - leased
    if limit.rate is None:
        return leases, math.inf, 0
    return leases, *keys.tokens("", limit.rate, now)
