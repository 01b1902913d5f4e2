"""Anything that can happen to a queue, in any order, on Redis and on the fake: after every step
both hold the same, and what must always hold does. Time passes by hand.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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

from pipeline.domain.job import Entry
from pipeline.ports import ExpiredLease, Lease
from tests.fakes.clock import ManualClock
from tests.queue_worlds import TTL, FakeWorld, RedisWorld, Snapshot, World

R = TypeVar("R")

jobs = st.sampled_from(["a", "b", "c"])
workers = st.sampled_from(["w1", "w2", "w3"])
dues = st.sampled_from([-60, -1, 0, 1, 5, 20])
priorities = st.sampled_from([0, 4, 5, 9])


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

    @rule(job=jobs, due=dues, priority=priorities)
    def add(self, job: str, due: int, priority: int) -> None:
        self.both(lambda world: world.add(job, due, priority))
        assert waiting(self.after) == waiting(self.before) | {job}
        assert self.after.leased == self.before.leased

    @rule(several=st.lists(jobs, unique=True), due=dues, priority=priorities)
    def restore(self, several: list[str], due: int, priority: int) -> None:
        entries = [self.entry(job, due, priority) for job in several]
        restored = self.both(lambda world: world.queue.restore(entries))
        assert set(restored) == set(several) - waiting(self.before)
        assert waiting(self.after) == waiting(self.before) | set(several)

    # -- workers

    @rule(worker=workers, limit=st.integers(1, 3))
    def lease(self, worker: str, limit: int) -> None:
        call = Call(worker, f"L{len(self.calls)}", limit)
        self.calls.append(call)
        job_ids = self.made(call)
        assert held(self.after) == held(self.before) | set(job_ids)
        assert waiting(self.after) == waiting(self.before) - set(job_ids)
        assert all(self.due_before(job_id) for job_id in job_ids)
        self.awake = False

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
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        """By the one who runs the job or, as a ghost would, by anybody who ever leased it."""
        lease = data.draw(st.sampled_from(self.leases))
        self.both(lambda world: world.queue.extend([lease], TTL))
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
    @rule(data=st.data(), due=dues, priority=priorities)
    def give_back(self, data: st.DataObject, due: int, priority: int) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        entry = self.entry(lease.job_id, due, priority)
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
    @rule(due=dues, priority=priorities)
    def requeue(self, due: int, priority: int) -> None:
        """What was seen expired, at any time later."""
        moves = [(lease, self.entry(lease.job_id, due, priority)) for lease in self.seen]
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
        self.compare()

    @rule()
    def wipe(self) -> None:
        self.fake.wipe()
        self.real.wipe()
        self.compare()

    @rule()
    def look(self) -> None:
        self.both(lambda world: world.queue.view("default"))
        self.both(lambda world: world.queue.peek("default", 4))
        self.both(lambda world: world.queue.leased("default", ["a", "b", "c"]))
        assert self.after == self.before

    # -- what always holds

    @invariant()
    def a_job_waits_in_one_place(self) -> None:
        assert not set(self.after.ready) & set(self.after.delayed)

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
    def nobody_sleeps_beside_a_ready_job(self) -> None:
        """A token is there, or whoever took it has not looked yet."""
        if self.after.ready and not self.after.paused:
            assert self.after.token or self.awake

    # -- words

    def made(self, call: Call) -> list[str]:
        grant = self.both(lambda world: world.lease(call.lease_id, call.worker, call.limit))
        self.leases += [Lease(j, "default", call.worker, call.lease_id) for j in grant.job_ids]
        return list(grant.job_ids)

    def entry(self, job: str, due: int, priority: int) -> Entry:
        return self.fake.entry(job, due, priority)

    def now_ms(self) -> int:
        return int(self.clock.now().timestamp() * 1000)

    def before_call(self, call: Call) -> list[str] | None:
        lease_id, *job_ids = self.after.grants.get(call.worker, "").split() or [""]
        return job_ids if lease_id == call.lease_id else None

    def due_before(self, job_id: str) -> bool:
        due = self.before.delayed.get(job_id)
        return job_id in self.before.ready or (due is not None and due <= self.now_ms())

    def owned_before(self, lease: Lease) -> bool:
        return self.before.owners.get(lease.job_id) == f"{lease.worker} {lease.lease_id}"

    def same_before(self) -> set[str]:
        return {s.job_id for s in self.seen if self.before.leased.get(s.job_id) == s.deadline_ms}


def waiting(snapshot: Snapshot) -> set[str]:
    """The jobs in ready or delayed."""
    return set(snapshot.ready) | set(snapshot.delayed)


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
