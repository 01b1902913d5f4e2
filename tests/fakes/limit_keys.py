"""What limit keys of one queue hold back, in memory, and why: said plainly, without marks.

A key is judged when something about it changes, and the verdict stands until then: 1, one of its
jobs may run; 2, one of its leases has to end; else the instant (ms) of its next token. The queue's
own tokens are those of the key "".
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.domain.limits import KeyLimit, Limit, Rate

MAY_RUN, FULL = 1, 2
_SLOP = 0.01


@dataclass
class LimitKeys:
    """`held` is leased job → key, `took` the ms of its token; `spent` key → until when they are."""

    held: dict[str, str] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, float] = field(default_factory=dict)

    @property
    def running(self) -> Mapping[str, int]:
        """How many leases each key has."""
        return Counter(self.held.values())

    def tokens(self, key: str, rate: Rate, now: int) -> tuple[int, int]:
        """How many there are, and when to look again if none."""
        step, capacity = rate.interval_ms, rate.capacity
        ahead = self._ahead(key, rate, now)
        there = math.floor((step * capacity - ahead + _SLOP) / step)
        gathered = max(1, min(capacity, math.floor(10 / step)))
        return there, now + max(1, math.ceil(ahead - (capacity - gathered) * step - _SLOP))

    def spend(self, key: str, rate: Rate, now: int, count: int) -> None:
        """Take so many tokens."""
        self.spent[key] = now + self._ahead(key, rate, now) + count * rate.interval_ms

    def _ahead(self, key: str, rate: Rate, now: int) -> float:
        ahead = max(self.spent.get(key, 0) - now, 0)
        return min(ahead, rate.interval_ms * rate.capacity)

    def verdict(self, limit: KeyLimit, now: int, running: int) -> float:
        """Whether a job with this limit may run beside so many others of its key."""
        if limit.concurrency is not None and running >= limit.concurrency:
            return FULL
        if limit.rate is None:
            return MAY_RUN
        there, again = self.tokens(limit.key, limit.rate, now)
        return MAY_RUN if there > 0 else again

    def judge(self, firsts: Mapping[str, KeyLimit | None], now: int) -> bool:
        """Judge keys by the first job that waits for each, if any; whether one may run."""
        for key, limit in firsts.items():
            if limit is None:
                self.verdicts.pop(key, None)
            else:
                self.verdicts[key] = self.verdict(limit, now, self.running.get(key, 0))
        return any(self.verdicts.get(key) == MAY_RUN for key in firsts)

    def hold(
        self, job_ids: Iterable[str], keys: Mapping[str, str], took: Mapping[str, float] = {}
    ) -> set[str]:
        """These are leased under these keys, or not leased any more; which keys may have room."""
        changed: set[str] = set()
        for job_id in job_ids:
            before, key = self.held.pop(job_id, None), keys.get(job_id)
            if before is not None:
                changed.add(before)
            if before != key:
                self.took.pop(job_id, None)
                if job_id in took:
                    self.took[job_id] = took[job_id]
            if key is not None:
                self.held[job_id] = key
        return {key for key in changed if self.verdicts.get(key) == FULL}


def room_of(limit: Limit, keys: LimitKeys, leased: int, now: int) -> tuple[float, float, int]:
    """What a queue's own limit leaves: leases, tokens, and when to look for the next token."""
    leases = math.inf if limit.concurrency is None else limit.concurrency - leased
    if limit.rate is None:
        return leases, math.inf, 0
    return leases, *keys.tokens("", limit.rate, now)
