"""Limits, one suite on the fake and on Redis: nobody runs beyond one, nobody waits without one."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit, Rate
from pipeline.ports import Room
from tests.queue_worlds import TTL, World, a_world

AGES = TTL.total_seconds() + 1
ONE = KeyLimit(key="a", concurrency=1)
TWO = KeyLimit(key="a", concurrency=2)
SLOW = KeyLimit(key="slow", rate=Rate(count=2, per=1))


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


async def add(world: World, jobs: str, limit: KeyLimit | None, **when: int) -> None:
    """One job for each letter, each a millisecond after the one before."""
    for number, job in enumerate(jobs):
        await world.queue.add([
            world.entry(job, due_in=when.get("due_in", -9) + number / 1000, limit=limit,
                        priority=when.get("priority", 5))
        ])  # fmt: skip


def taken(world: World) -> Counter[str]:
    """How many slots of each key jobs have."""
    return Counter(key for key, _, _ in world.snapshot().slots.values())


# -- concurrency of a key


async def test_no_more_jobs_of_a_key_run_than_it_allows(world: World) -> None:
    await add(world, "abcd", TWO)
    assert (await world.lease("L1")).job_ids == ["a", "b"]
    assert (await world.lease("L2", "w2")).job_ids == []
    await world.queue.ack([world.held("a", "L1")])
    assert (await world.lease("L3", "w2")).job_ids == ["c"]


async def test_a_key_at_its_limit_holds_nobody_else_back(world: World) -> None:
    await add(world, "abcd", ONE)
    await add(world, "x", KeyLimit(key="b", concurrency=1), due_in=0)
    await add(world, "y", None, due_in=0)
    assert (await world.lease("L1")).job_ids == ["a", "x", "y"]


async def test_a_limit_of_one_queue_is_none_of_another(world: World) -> None:
    await world.queue.add([world.entry("x", limit=ONE), world.entry("y", queue="mail", limit=ONE)])
    assert (await world.lease("L1")).job_ids == ["x"]
    assert (await world.lease("L2", queue="mail")).job_ids == ["y"]


async def test_jobs_of_keys_stand_in_the_order_of_all_jobs(world: World) -> None:
    await add(world, "ac", TWO, due_in=-9)
    await world.add("b", due_in=-8.9995)
    await world.add("z", due_in=-1, priority=9, limit=KeyLimit(key="b", concurrency=9))
    await world.add("y", due_in=-2, priority=9)
    assert (await world.lease("L1", limit=3)).job_ids == ["y", "z", "a"]
    assert (await world.lease("L2", limit=9)).job_ids == ["b", "c"]


async def test_inside_a_key_the_urgent_comes_first(world: World) -> None:
    await add(world, "abc", ONE)
    await world.lease("L1")
    await world.add("z", priority=9, limit=ONE)
    await world.queue.ack([world.held("a", "L1")])
    assert (await world.lease("L2")).job_ids == ["z"]


async def test_the_urgent_takes_the_slot_of_who_is_not_leased_yet(world: World) -> None:
    # Both wait for a worker, not for each other: the first has the only slot already.
    await add(world, "ab", TWO, due_in=-9, priority=0)
    await world.lease("L1", limit=1)
    await world.add("z", priority=9, limit=TWO)
    assert (await world.lease("L2")).job_ids == ["z"]
    await world.queue.ack([world.held("a", "L1")])
    assert (await world.lease("L3")).job_ids == ["b"]


async def test_the_urgent_finds_the_slot_behind_many_that_run(world: World) -> None:
    most = KeyLimit(key="m", concurrency=251)
    await world.queue.add([
        world.entry(f"j{number:03}", due_in=-9, priority=0, limit=most) for number in range(251)
    ])  # fmt: skip
    assert len((await world.lease("L1", limit=250)).job_ids) == 250
    await world.add("z", priority=9, limit=most)
    assert (await world.lease("L2")).job_ids == ["z"]
    assert taken(world) == {"m": 251}


async def test_who_is_restored_while_it_runs_gives_its_slot_to_nobody(world: World) -> None:
    # The reconciler read the job before it was leased, and restores it after.
    await add(world, "ab", ONE)
    await world.lease("L1")
    await world.queue.restore([world.entry("a", due_in=-9, limit=ONE)])
    assert (await world.lease("L2", "w2")).job_ids == []
    await world.queue.ack([world.held("a", "L1")])
    assert (await world.lease("L3", "w2")).job_ids == ["a"]
    await world.queue.ack([world.held("a", "L3", "w2")])
    assert (await world.lease("L4", "w2")).job_ids == ["b"]


async def test_heartbeats_take_slots_back_from_who_is_not_leased_yet(world: World) -> None:
    await world.queue.restore([world.entry("c", limit=TWO), world.entry("d", limit=TWO)])
    await world.queue.extend([world.held("a", "L1", limit_key="a")], TTL)
    assert taken(world) == {"a": 2}
    assert (await world.lease("L2", "w2")).job_ids == ["c"]
    await world.queue.ack([world.held("a", "L1")])
    assert (await world.lease("L3", "w2")).job_ids == ["d"]


async def test_each_job_is_judged_by_the_number_that_it_brings(world: World) -> None:
    # Whose number counts if they differ? That of the first who waits.
    await add(world, "ab", TWO)
    await add(world, "cd", ONE, due_in=-5)
    assert (await world.lease("L1")).job_ids == ["a", "b"]
    await world.queue.ack([world.held("a", "L1")])
    assert (await world.lease("L2")).job_ids == []
    await world.add("z", priority=9, limit=TWO)
    assert (await world.lease("L3")).job_ids == ["z"]


async def test_a_waiting_job_takes_over_the_limit_that_it_is_given(world: World) -> None:
    await add(world, "ab", ONE)
    await world.lease("L1")
    await world.add("b", limit=TWO)
    assert (await world.lease("L2")).job_ids == ["b"]
    await world.add("c", limit=ONE)
    assert (await world.lease("L3")).job_ids == []
    await world.add("c")
    assert (await world.lease("L4")).job_ids == ["c"]


async def test_a_delayed_job_has_its_limit_when_it_is_due(world: World) -> None:
    await add(world, "ab", ONE, due_in=5, priority=7)
    assert (await world.lease("L1")).job_ids == []
    world.advance(6)
    assert (await world.lease("L2")).job_ids == ["a"]
    assert (await world.lease("L3")).job_ids == []


async def test_a_key_of_many_jobs_fills_a_large_batch(world: World) -> None:
    many = KeyLimit(key="many", concurrency=700)
    jobs = [f"j{number:04}" for number in range(1000)]
    await world.queue.add([world.entry(job, limit=many) for job in jobs])
    assert (await world.lease("L1", limit=1000)).job_ids == jobs[:700]


async def test_a_lost_reply_takes_no_second_slot(world: World) -> None:
    await add(world, "abc", TWO)
    await world.lease("L1", limit=1)
    assert (await world.lease("L1", limit=1)).job_ids == ["a"]
    assert (await world.lease("L2")).job_ids == ["b"]


# -- a slot is never lost, whatever ends the lease


async def test_an_acknowledgement_wakes_who_waits_for_the_key(world: World) -> None:
    await add(world, "ab", ONE)
    await world.lease("L1")
    await world.lease("L2", "w2")
    world.take_token()
    await world.queue.ack([world.held("a", "L1")])
    assert world.take_token()


async def test_a_returned_job_frees_the_slot_and_keeps_its_turn(world: World) -> None:
    await add(world, "ab", ONE)
    await world.lease("L1")
    entry = world.entry("a", due_in=-9, limit=ONE)
    await world.queue.give_back([(world.held("a", "L1"), entry)])
    assert (await world.lease("L2")).job_ids == ["a"]


async def test_a_lease_that_ran_out_holds_its_slot_until_it_is_reaped(world: World) -> None:
    # Its worker may still be running the job.
    await add(world, "abc", ONE)
    await world.lease("L1")
    world.advance(AGES)
    assert (await world.lease("L2", "w2")).job_ids == []
    await world.queue.drop("default", [(await world.expired())["a"]])
    assert (await world.lease("L3", "w2")).job_ids == ["b"]
    world.advance(AGES)
    entry = world.entry("b", due_in=-99, limit=ONE)
    await world.queue.requeue("default", [((await world.expired())["b"], entry)])
    assert (await world.lease("L4")).job_ids == ["b"]


async def test_a_lease_that_another_took_over_holds_one_slot(world: World) -> None:
    """H20: both workers hold the job for a while; the key has one of its leases."""
    await add(world, "ab", TWO)
    await world.lease("L1", limit=1)
    await world.add("a", due_in=-99, limit=TWO)
    assert (await world.lease("L2", "w2", limit=1)).job_ids == ["a"]
    assert taken(world) == {"a": 2}
    await world.queue.ack([world.held("a", "L1"), world.held("a", "L2", "w2")])
    assert taken(world) == {"a": 1}
    assert (await world.lease("L3")).job_ids == ["b"]


async def test_who_is_put_in_anew_without_a_limit_frees_its_old_slot(world: World) -> None:
    # The limit was removed between two attempts, and the first is not acknowledged yet.
    await add(world, "ab", ONE)
    await world.lease("L1")
    await world.add("a", due_in=-99)
    assert (await world.lease("L2", "w2", limit=1)).job_ids == ["a"]
    assert (await world.lease("L3")).job_ids == ["b"]


async def test_who_is_put_in_anew_under_another_key_frees_its_old_slot(world: World) -> None:
    # The limit was changed between two attempts, and the first is not acknowledged yet.
    await add(world, "j", TWO)
    await world.lease("L1")
    await add(world, "xyz", TWO, due_in=-5)
    await world.add("j", due_in=-4, limit=KeyLimit(key="b", concurrency=1))
    assert (await world.lease("L2", "w2")).job_ids == ["x", "y", "j"]
    await world.queue.ack([world.held("j", "L1")])
    assert taken(world) == {"a": 2, "b": 1}


async def test_after_a_wipe_heartbeats_and_the_reconciler_make_it_right(world: World) -> None:
    await add(world, "abc", TWO)
    await world.lease("L1")
    world.wipe()
    held = [world.held(job, "L1", limit_key="a") for job in "ab"]
    await world.queue.extend(held[:1], TTL)
    await world.queue.restore([world.entry("c", limit=TWO), world.entry("d", limit=TWO)])
    assert (await world.lease("L2", "w2")).job_ids == ["c"]
    await world.queue.extend(held, TTL)
    assert taken(world) == {"a": 3}
    await world.queue.ack(held)
    assert (await world.lease("L3", "w2")).job_ids == ["d"]


async def test_what_limits_have_kept_is_not_restored_twice(world: World) -> None:
    await add(world, "ab", ONE)
    await world.lease("L1")
    assert list(await world.queue.restore([world.entry("b", limit=ONE)])) == []


# -- rates


async def test_a_key_with_a_rate_runs_as_fast_as_its_tokens_come(world: World) -> None:
    await add(world, "abcd", SLOW)
    first = await world.lease("L1")
    assert (first.job_ids, first.next_due_at) == (["a", "b"], world.due(0.5))
    world.advance(0.5)
    second = await world.lease("L2")
    assert (second.job_ids, second.next_due_at) == (["c"], world.due(0.5))
    world.advance(0.499)
    assert (await world.lease("L3")).job_ids == []
    world.advance(0.001)
    assert (await world.lease("L4")).job_ids == ["d"]


async def test_who_was_not_started_gives_its_token_to_the_next(world: World) -> None:
    # It had been cancelled while it waited: the start is refused.
    await world.queue.limit("default", Limit(rate=Rate(count=2, per=100)))
    await add(world, "abcdef", KeyLimit(key="s", rate=Rate(count=2, per=60)))
    await world.lease("L1")
    assert (await world.lease("L2")).job_ids == []
    world.take_token()
    await world.queue.forgo([world.held("a", "L1")])
    assert world.take_token()
    assert (await world.lease("L3")).job_ids == ["c"]
    entry = world.entry("b", due_in=-99, limit=KeyLimit(key="s", rate=Rate(count=2, per=60)))
    await world.queue.give_back([(world.held("b", "L1"), entry)])
    assert (await world.lease("L4")).job_ids == ["b"]
    assert (await world.lease("L5")).job_ids == []


async def test_no_more_than_the_burst_starts_at_once(world: World) -> None:
    await add(world, "abcdef", KeyLimit(key="b", rate=Rate(count=10, per=1, burst=3)))
    world.advance(60)
    assert len((await world.lease("L1")).job_ids) == 3


async def test_tokens_of_thousands_let_thousands_start(world: World) -> None:
    # One step of Redis admits a thousand at most; what it leaves is not forgotten.
    fast = KeyLimit(key="f", rate=Rate(count=3000, per=10))
    jobs = [f"j{number:04}" for number in range(6000)]
    await world.queue.add([world.entry(job, due_in=-9, limit=fast) for job in jobs])
    for _ in range(2):
        leases = [await world.lease(f"L{world.clock.now()}{n}", limit=1000) for n in range(5)]
        assert sum(len(grant.job_ids) for grant in leases) == 3000
        world.advance(10)


async def test_jobs_that_wait_for_a_worker_save_no_tokens_up(world: World) -> None:
    # Who has no worker for a minute has a burst to start then, and no more.
    await add(world, "abcdef", SLOW)
    world.advance(60)
    assert (await world.lease("L1")).job_ids == ["a", "b"]
    assert (await world.lease("L2")).next_due_at == world.due(0.5)


async def test_who_runs_claims_no_token(world: World) -> None:
    # Of the same key one has no rate, and was leased before anybody had one.
    await add(world, "a", KeyLimit(key="s", concurrency=9))
    await world.lease("L1")
    await add(world, "bc", KeyLimit(key="s", rate=Rate(count=1, per=60)))
    assert (await world.lease("L2")).job_ids == ["b"]


async def test_who_starts_without_a_token_leaves_it_to_the_next_in_the_same_lease(
    world: World,
) -> None:
    # Before it started it had a claim to it, and a worker that finds no more falls asleep.
    await add(world, "a", KeyLimit(key="s", concurrency=9))
    await add(world, "b", KeyLimit(key="s", rate=Rate(count=1, per=60)))
    assert (await world.lease("L1")).job_ids == ["a", "b"]


async def test_a_token_that_is_claimed_no_more_is_not_waited_for(world: World) -> None:
    slow = KeyLimit(key="s", rate=Rate(count=2, per=1000))
    await add(world, "a", slow)
    await world.lease("L1")
    await add(world, "b", KeyLimit(key="s", concurrency=9))
    await add(world, "c", slow)
    assert (await world.lease("L2", limit=1)).job_ids == ["b"]
    assert (await world.lease("L3")).job_ids == ["c"]


async def test_who_gave_its_slot_to_a_heartbeat_waits_for_that_and_no_token(world: World) -> None:
    # The first in line waited for a token; now another is the first, and needs none.
    slow = KeyLimit(key="s", rate=Rate(count=1, per=1000))
    await add(world, "a", slow)
    await world.lease("L1")
    await world.queue.ack([world.held("a", "L1")])
    await add(world, "b", KeyLimit(key="s", concurrency=1))
    await add(world, "c", slow)
    await world.queue.extend([world.held("z", "L2", limit_key="s")], TTL)
    assert (await world.lease("L3", "w2")).job_ids == []
    await world.queue.ack([world.held("z", "L2")])
    assert (await world.lease("L4", "w2", limit=1)).job_ids == ["b"]


async def test_a_key_without_tokens_holds_nobody_else_back(world: World) -> None:
    await add(world, "abcd", SLOW)
    await add(world, "x", None, due_in=0)
    world.advance(1)
    assert (await world.lease("L1")).job_ids == ["a", "b", "x"]


async def test_a_fast_rate_wakes_nobody_for_every_token(world: World) -> None:
    await add(world, "abcdef", KeyLimit(key="f", rate=Rate(count=1000, per=1, burst=2)))
    await world.lease("L1", limit=2)
    assert (await world.lease("L2")).next_due_at == world.due(0.002)


# -- the queue's own


async def test_no_more_jobs_of_a_queue_run_than_it_allows(world: World) -> None:
    await add(world, "abcd", None)
    await world.queue.limit("default", Limit(concurrency=3))
    assert (await world.lease("L1", limit=2)).job_ids == ["a", "b"]
    assert (await world.lease("L2", limit=2)).job_ids == ["c"]
    full = await world.lease("L3")
    assert (full.job_ids, full.next_due_at) == ([], None)
    world.take_token()
    await world.queue.ack([world.held("a", "L1")])
    assert world.take_token()
    assert (await world.lease("L4")).job_ids == ["d"]


async def test_a_limit_is_changed_and_removed_while_jobs_wait(world: World) -> None:
    await add(world, "abcde", None)
    await world.queue.limit("default", Limit(concurrency=1))
    await world.lease("L1")
    world.take_token()
    await world.queue.limit("default", Limit(concurrency=2))
    assert world.take_token()
    assert (await world.lease("L2")).job_ids == ["b"]
    await world.queue.limit("default", Limit(concurrency=1))
    await world.queue.ack([world.held("a", "L1")])
    assert (await world.lease("L3")).job_ids == []
    await world.queue.limit("default", NO_LIMIT)
    assert (await world.lease("L4")).job_ids == ["c", "d", "e"]


async def test_a_queue_with_a_rate_runs_as_fast_as_its_tokens_come(world: World) -> None:
    await world.queue.limit("default", Limit(rate=Rate(count=2, per=1)))
    await add(world, "abcd", None)
    first = await world.lease("L1")
    assert (first.job_ids, first.next_due_at) == (["a", "b"], world.due(0.5))
    assert (await world.lease("L1")).job_ids == ["a", "b"]
    world.advance(0.5)
    assert (await world.lease("L2")).job_ids == ["c"]


async def test_a_new_rate_does_not_wait_for_what_the_old_one_owed(world: World) -> None:
    await world.queue.limit("default", Limit(rate=Rate(count=2, per=86_400)))
    await add(world, "abcd", None)
    await world.lease("L1")
    await world.queue.limit("default", Limit(rate=Rate(count=2, per=1)))
    assert (await world.lease("L2")).next_due_at == world.due(0.5)


async def test_a_timer_is_set_to_the_later_of_token_and_due_time(world: World) -> None:
    await world.queue.limit("default", Limit(rate=Rate(count=1, per=10)))
    await add(world, "a", None)
    await world.add("b", due_in=4)
    await world.add("c", due_in=40)
    assert (await world.lease("L1")).next_due_at == world.due(10)
    world.advance(10)
    assert (await world.lease("L2")).next_due_at == world.due(30)


# -- what a person sees


async def test_a_view_counts_jobs_and_not_keys(world: World) -> None:
    await add(world, "abc", ONE)
    await add(world, "defg", SLOW)
    await world.add("h", due_in=60, limit=ONE)
    await world.lease("L1")
    view = await world.queue.view("default")
    assert (view.delayed, view.ready, view.leased, view.limited) == (1, 4, 3, 4)
    assert view.oldest_wait == timedelta()
    await world.queue.limit("default", Limit(concurrency=3))
    view = await world.queue.view("default")
    assert (view.limit, view.room) == ("3 0 0", Room(is_full=True))


async def test_keys_tell_what_their_jobs_wait_for(world: World) -> None:
    await add(world, "abc", TWO)
    await add(world, "def", SLOW)
    await world.lease("L1")
    full, slow = await world.queue.full_keys("default", 9)
    assert (full.key, full.waiting, full.running, full.concurrency) == ("a", 1, 2, 2)
    assert (full.room, slow.room) == (Room(is_full=True), Room(token_in=timedelta(seconds=0.5)))
    assert list(await world.queue.full_keys("default", 1)) == [full]


async def test_a_peek_tells_what_a_job_waits_for(world: World) -> None:
    await add(world, "abc", TWO)
    await world.add("x")
    await world.add("y", due_in=5, limit=ONE)
    peeked = await world.queue.peek("default", 9)
    assert [(p.job_id, p.waits_for) for p in peeked] == [
        ("a", None),
        ("b", None),
        ("x", None),
        ("c", "key a: others before it, 0 of 2 running"),
        ("y", None),
    ]
    world.advance(1)
    await world.lease("L1")
    waiting, *_ = await world.queue.peek("default", 9)
    assert (waiting.job_id, waiting.waits_for) == ("c", "key a: 2 of 2 running")


async def test_who_waits_behind_a_token_that_another_will_take_is_told_so(world: World) -> None:
    await add(world, "ab", KeyLimit(key="s", rate=Rate(count=1, per=4)))
    _, waiting = await world.queue.peek("default", 9)
    assert (waiting.job_id, waiting.waits_for) == ("b", "key s: others before it")
    await world.lease("L1")
    (waiting,) = await world.queue.peek("default", 9)
    assert waiting.waits_for == "key s: next token in 4.0 s"


async def test_a_recount_frees_what_nobody_holds(world: World) -> None:
    # A process that knows no limits acknowledged the lease: the slot would be lost for ever.
    await add(world, "ab", ONE)
    await world.lease("L1")
    world.forget_lease("a")
    assert (await world.lease("L2")).job_ids == []
    await world.queue.recount("default")
    assert world.take_token()
    assert (await world.lease("L3")).job_ids == ["b"]
