"""Anything that can happen to a queue, in any order, on Redis and on the fake: both agree, and lose
nothing. Time passes by hand.
"""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit, Rate
from tests.queue_twins import FOREVER, Call, QueueTwins, held, waiting
from tests.queue_worlds import TTL

jobs = st.sampled_from(["a", "b", "c", "d", "e"])
workers = st.sampled_from(["w1", "w2", "w3"])
dues = st.sampled_from([-60, -1, 0, 1, 5, 20])
priorities = st.sampled_from([0, 4, 5, 9])
_K_SLOW = Rate(count=1, per=4)
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


class LeaseQueueMachine(QueueTwins):
    """Workers, dispatchers, reapers and reconcilers that do anything, also what none should."""

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
