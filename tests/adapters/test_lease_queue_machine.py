"""Anything that can happen to a queue, in any order, on Redis and on the fake: after every step
both hold the same, and what must always hold does. Time passes by hand.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.domain.instants import to_ms
from pipeline.domain.job import Entry
from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit, Rate
from pipeline.ports import ExpiredLease, Lease
from tests.fakes.clock import ManualClock
from tests.fakes.limit_keys import CLAIMED, MAY_RUN, room_of
from tests.queue_worlds import TTL, FakeWorld, RedisWorld, Snapshot, World

R = TypeVar("R")

jobs = st.sampled_from(["a", "b", "c", "d", "e"])
workers = st.sampled_from(["w1", "w2", "w3"])
dues = st.sampled_from([-60, -1, 0, 1, 5, 20])
priorities = st.sampled_from([0, 4, 5, 9])
_K_SLOW = Rate(count=1, per=4)
FOREVER = datetime.max.replace(tzinfo=UTC)
LIMITS = (
    None,
    KeyLimit(key="k", concurrency=1),
    KeyLimit(key="k", concurrency=2),
    KeyLimit(key="k", rate=_K_SLOW, concurrency=2),
    KeyLimit(key="k", rate=Rate(count=2, per=40), concurrency=2),
    KeyLimit(key="l", rate=Rate(count=2, per=3, burst=1)),
    KeyLimit(key="l", rate=Rate(count=300)),
)
limits = st.sampled_from(LIMITS)
own_limits = st.sampled_from([
    NO_LIMIT,
    Limit(concurrency=1),
    Limit(concurrency=2, rate=Rate(count=2, per=5, burst=3)),
    Limit(rate=Rate(count=1, per=1)),
])  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A lease call that was made; the worker may say it again."""

    worker: str
    lease_id: str
    limit: int


class LeaseQueueMachine(RuleBasedStateMachine):
    """Workers, dispatchers, reapers and reconcilers that do anything, also what none should."""

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

    # -- who puts in

    @rule(job=jobs, due=dues, priority=priorities, limit=limits)
    def add(self, job: str, due: int, priority: int, limit: KeyLimit | None) -> None:
        self.both(lambda world: world.add(job, due, priority, limit))
        assert waiting(self.after) == waiting(self.before) | {job}
        assert self.after.leased == self.before.leased

    @rule(batch=st.lists(st.tuples(jobs, dues, priorities, limits), min_size=1, max_size=5))
    def add_many(self, batch: list[tuple[str, int, int, KeyLimit | None]]) -> None:
        """Of one that is named twice the last words count."""
        self.both(lambda world: world.queue.add([self.entry(*words) for words in batch]))
        assert waiting(self.after) == waiting(self.before) | {job for job, *_ in batch}
        assert self.after.leased == self.before.leased

    @rule(several=st.lists(jobs, unique=True), due=dues, priority=priorities, limit=limits)
    def restore(self, several: list[str], due: int, priority: int, limit: KeyLimit | None) -> None:
        entries = [self.entry(job, due, priority, limit) for job in several]
        restored = self.both(lambda world: world.queue.restore(entries))
        assert set(restored) == set(several) - waiting(self.before)
        assert waiting(self.after) == waiting(self.before) | set(several)

    @rule(several=st.lists(jobs, unique=True, min_size=1))
    def withdraw(self, several: list[str]) -> None:
        self.both(lambda world: world.queue.withdraw("default", several))
        assert waiting(self.after) == waiting(self.before) - (set(several) - held(self.before))
        assert held(self.after) == held(self.before)

    # -- workers

    @rule(worker=workers, limit=st.integers(1, 3))
    def lease(self, worker: str, limit: int) -> None:
        call = Call(worker, f"L{len(self.calls)}", limit)
        self.calls.append(call)
        job_ids = self.made(call)
        assert held(self.after) == held(self.before) | set(job_ids)
        assert waiting(self.after) == waiting(self.before) - set(job_ids)
        assert all(self.due_before(job_id) for job_id in job_ids)
        if self.own.concurrency is not None:
            assert len(job_ids) <= max(0, self.own.concurrency - len(self.before.leased))
        self.awake = False
        self.rings_at = self.looked

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def lease_again_after_a_lost_reply(self, data: st.DataObject) -> None:
        """Also long after, when the call is forgotten: then it is a call like any other."""
        call = data.draw(st.sampled_from(self.calls))
        remembered = self.before_call(call)
        job_ids = self.made(call)
        if remembered is not None:
            assert job_ids == remembered
            assert self.after == self.before

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), key=st.sampled_from([None, "k", "l"]))
    def extend(self, data: st.DataObject, key: str | None) -> None:
        """By those who run the jobs or, as ghosts would, by anybody who ever leased them."""
        drawn = st.lists(
            st.sampled_from(self.leases), min_size=1, max_size=3, unique_by=lambda one: one.job_id
        )
        mine = [replace(lease, limit_key=key) for lease in data.draw(drawn)]
        self.both(lambda world: world.queue.extend(mine, TTL))
        for lease in mine:
            assert self.after.owners[lease.job_id] == f"{lease.worker} {lease.lease_id}"
        assert waiting(self.after) == waiting(self.before)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        mine = data.draw(st.lists(st.sampled_from(self.leases), min_size=1, unique=True))
        self.both(lambda world: world.queue.ack(mine))
        gone = {lease.job_id for lease in mine if self.owned_before(lease)}
        assert held(self.after) == held(self.before) - gone
        assert waiting(self.after) == waiting(self.before)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def forgo(self, data: st.DataObject) -> None:
        mine = data.draw(st.lists(st.sampled_from(self.leases), min_size=1, unique=True))
        self.both(lambda world: world.queue.forgo(mine))
        gone = {lease.job_id for lease in mine if self.owned_before(lease)}
        assert held(self.after) == held(self.before) - gone
        assert waiting(self.after) == waiting(self.before)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), due=dues, priority=priorities, limit=limits)
    def give_back(
        self, data: st.DataObject, due: int, priority: int, limit: KeyLimit | None
    ) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        entry = self.entry(lease.job_id, due, priority, limit)
        self.both(lambda world: world.queue.give_back([(lease, entry)]))
        back = {lease.job_id} if self.owned_before(lease) else set()
        assert waiting(self.after) == waiting(self.before) | back
        assert held(self.after) == held(self.before) - back

    # -- reapers

    @rule(limit=st.integers(1, 5))
    def expired(self, limit: int) -> None:
        self.seen = list(self.both(lambda world: world.queue.expired("default", limit)))
        assert self.after == self.before

    @precondition(lambda self: self.seen)
    @rule(due=dues, priority=priorities, limit=limits)
    def requeue(self, due: int, priority: int, limit: KeyLimit | None) -> None:
        """What was seen expired, at any time later."""
        moves = [(lease, self.entry(lease.job_id, due, priority, limit)) for lease in self.seen]
        self.both(lambda world: world.queue.requeue("default", moves))
        still = self.same_before()
        assert waiting(self.after) == waiting(self.before) | still
        assert held(self.after) == held(self.before) - still

    @precondition(lambda self: self.seen)
    @rule()
    def drop(self) -> None:
        self.both(lambda world: world.queue.drop("default", self.seen))
        assert waiting(self.after) == waiting(self.before)
        assert held(self.after) == held(self.before) - self.same_before()

    # -- everything else

    @rule()
    def pause(self) -> None:
        self.both(lambda world: world.queue.pause("default"))

    @rule(limit=own_limits)
    def limit_the_queue(self, limit: Limit) -> None:
        self.both(lambda world: world.queue.limit("default", limit))
        self.own = limit

    @rule()
    def recount(self) -> None:
        self.both(lambda world: world.queue.recount("default"))
        assert waiting(self.after) == waiting(self.before)
        assert set(self.after.slots) >= set(self.before.slots)  # nothing was wrong

    @rule()
    def resume(self) -> None:
        self.both(lambda world: world.queue.resume("default"))

    @rule()
    def a_sleeper_takes_the_token(self) -> None:
        assert self.fake.take_token() == self.real.take_token() == self.after.token
        self.awake = self.awake or self.after.token
        self.compare()

    @rule()
    def a_sleeper_passes_its_token_on(self) -> None:
        self.both(lambda world: world.queue.pass_on("default"))

    @rule(seconds=st.sampled_from([1, 4, 15, 31]))
    def time_passes(self, seconds: int) -> None:
        self.real.advance(seconds)  # the clock is the fake's too
        self.awake = self.awake or (self.rings_at or FOREVER) <= self.clock.now()
        self.compare()

    @rule()
    def wipe(self) -> None:
        self.fake.wipe()
        self.real.wipe()
        self.own = NO_LIMIT
        self.compare()

    @rule()
    def look(self) -> None:
        self.both(lambda world: world.queue.view("default"))
        self.both(lambda world: world.queue.peek("default", 9))
        self.both(lambda world: world.queue.leased("default", ["a", "b", "c"]))
        self.both(lambda world: world.queue.full_keys("default", 9))
        assert self.after == self.before

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


@pytest.mark.timeout(400)
def test_whatever_happens_redis_and_the_fake_agree_and_lose_nothing(redis_url: str) -> None:
    class OnThisRedis(LeaseQueueMachine):
        def __init__(self) -> None:
            super().__init__(redis_url)

    run_state_machine_as_test(
        OnThisRedis,
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
