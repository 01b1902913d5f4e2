"""Two lease queues, in memory and on Redis, that are told the same: after every step both hold the
same, and what must always hold does. What they are told, rules say (test_lease_queue_machine).
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from pipeline.domain.instants import to_ms
from pipeline.domain.job import Entry
from pipeline.domain.limits import NO_LIMIT, KeyLimit
from pipeline.ports import ExpiredLease, Lease
from tests.fakes.clock import ManualClock
from tests.fakes.limit_keys import CLAIMED, MAY_RUN, room_of
from tests.queue_worlds import FakeWorld, RedisWorld, Snapshot, World

R = TypeVar("R")
FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Call:
    """A lease call that was made; the worker may say it again."""

    worker: str
    lease_id: str
    limit: int


class QueueTwins(RuleBasedStateMachine):
    """What was said to both, what they hold, and held before."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.fake = FakeWorld(self.clock)
        self.real = RedisWorld(url, self.clock)
        self.real.wipe()
        self.calls: list[Call] = []
        self.leases: list[Lease] = []
        self.seen: list[ExpiredLease] = []
        self.awake = False
        self.looked: datetime | None = None
        self.rings_at: datetime | None = None
        """Who looked last and fell asleep has set a timer, to what the look told."""
        self.patient: dict[str, int] = {}
        self.own = NO_LIMIT
        self.before = self.after = Snapshot()

    def teardown(self) -> None:
        self.loop.run_until_complete(self.real.real.aclose())
        self.real.raw.close()
        self.loop.close()

    def both(self, do: Callable[[World], Awaitable[R]]) -> R:
        """Do it to both, compare what they say and what they then hold."""

        async def one(world: World) -> R:
            return await do(world)

        self.before = self.after
        said, real = (self.loop.run_until_complete(one(w)) for w in (self.fake, self.real))
        assert said == real
        self.compare()
        return said

    def compare(self) -> None:
        self.after = self.fake.snapshot()
        assert self.after == self.real.snapshot()

    # -- what always holds

    @invariant()
    def a_job_waits_in_one_place(self) -> None:
        ready, delayed, lines = self.after.ready, self.after.delayed, self.after.lines
        assert len(waiting(self.after)) == len(ready) + len(delayed) + len(lines)

    @invariant()
    def only_a_delayed_job_has_a_priority_of_its_own(self) -> None:
        assert set(self.after.priority) <= set(self.after.delayed)
        assert 5 not in self.after.priority.values()

    @invariant()
    def a_lease_has_an_owner_until_its_deadline(self) -> None:
        now = self.now_ms()
        living = {job for job, deadline in self.after.leased.items() if deadline > now}
        assert set(self.after.owners) == living

    @invariant()
    def nobody_sleeps_beside_a_job_that_may_run(self) -> None:
        """A token is there, or whoever took it has not looked yet; or a timer is set."""
        if self.startable() and not self.after.paused and self.has_room():
            assert self.after.token or self.awake

    @invariant()
    def somebody_has_a_timer_for_what_is_next(self) -> None:
        now = self.now_ms()
        look = self.fake.fake.part("default").next_look(now)
        if look is not None and not (self.after.token or self.awake):
            assert self.rings_at is not None
            assert to_ms(self.rings_at) <= max(look, now)

    @invariant()
    def a_slot_belongs_to_who_is_leased_or_in_ready(self) -> None:
        assert set(self.after.slots) <= set(self.after.leased) | set(self.after.ready)
        assert self.after.twice <= set(self.after.leased)

    @invariant()
    def nobody_gets_a_slot_that_is_not_there(self) -> None:
        """Only heartbeats, after a wipe, make it more than two."""
        new = {job for job, (key, at, _) in self.after.slots.items()
               if key == "k" and at is not None and job not in self.before.slots}  # fmt: skip
        if new:
            assert Counter(key for key, _, _ in self.after.slots.values())["k"] <= 2

    @invariant()
    def nobody_in_ready_comes_after_somebody_in_line(self) -> None:
        for job, (key, at, _) in self.after.slots.items():
            if job in self.after.ready and at is not None:
                line = [
                    (score, other) for other, (k, score, _) in self.after.lines.items() if k == key
                ]
                assert (at, job) < min(line, default=(math.inf, ""))

    @invariant()
    def no_key_with_room_is_held_back(self) -> None:
        """Whatever happened before: what the first of each line says is the whole truth."""
        now, limits = self.now_ms(), self.fake.fake.part("default").limits
        for key, stands in self.after.verdicts.items():
            if limits.verdict(limits.line(key)[0], now) == MAY_RUN:
                assert CLAIMED < stands <= now or self.patient.get(key) == stands

    # -- words

    def made(self, call: Call) -> list[str]:
        grant = self.both(lambda world: world.lease(call.lease_id, call.worker, call.limit))
        self.leases += [Lease(j, "default", call.worker, call.lease_id) for j in grant.job_ids]
        self.looked = grant.next_due_at
        for job in grant.job_ids:
            self.note_who_took_less(*self.after.slots.get(job, ("", None, "")))
        return list(grant.job_ids)

    def note_who_took_less(self, key: str, _: int | None, limit: str) -> None:
        """Who is first in line had counted on more, by its own numbers; it keeps its timer."""
        line = [
            (score, job, text) for job, (k, score, text) in self.after.lines.items() if k == key
        ]
        if line and 0 < float((limit or "0 0").split()[1]) < float(min(line)[2].split()[1]):
            self.patient[key] = self.after.verdicts[key]

    def entry(self, job: str, due: int, priority: int, limit: KeyLimit | None) -> Entry:
        return self.fake.entry(job, due, priority, limit=limit)

    def now_ms(self) -> int:
        return int(self.clock.now().timestamp() * 1000)

    def before_call(self, call: Call) -> list[str] | None:
        lease_id, *job_ids = self.after.grants.get(call.worker, "").split() or [""]
        return job_ids if lease_id == call.lease_id else None

    def startable(self) -> bool:
        return bool(self.after.ready)

    def has_room(self) -> bool:
        """No: a lease has to end, or a timer is set."""
        part = self.fake.fake.part("default")
        leased = len(self.after.leased)
        leases, tokens, _ = room_of(part.limit, part.limits, leased, self.now_ms())
        return leases > 0 and tokens >= 1

    def due_before(self, job_id: str) -> bool:
        due = self.before.delayed.get(job_id)
        return due is None or due <= self.now_ms()

    def owned_before(self, lease: Lease) -> bool:
        return self.before.owners.get(lease.job_id) == f"{lease.worker} {lease.lease_id}"

    def same_before(self) -> set[str]:
        return {s.job_id for s in self.seen if self.before.leased.get(s.job_id) == s.deadline_ms}


def waiting(snapshot: Snapshot) -> set[str]:
    """The jobs in ready, in delayed or in line."""
    return set(snapshot.ready) | set(snapshot.delayed) | set(snapshot.lines)


def held(snapshot: Snapshot) -> set[str]:
    """The jobs in leased."""
    return set(snapshot.leased)
