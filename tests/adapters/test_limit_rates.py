"""Rates of keys, one suite on the fake and on Redis: tokens are taken by who starts, and by nobody
else.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipeline.domain.limits import KeyLimit, Limit, Rate
from tests.limited_jobs import SLOW, add
from tests.queue_worlds import TTL, World, a_world


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


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
    grant = await world.lease("L1")
    assert (grant.job_ids, grant.next_due_at) == (["a", "b"], world.due(0.5))


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


async def test_a_job_with_a_faster_rate_does_not_wait_for_what_the_slower_one_owed(
    world: World,
) -> None:
    await add(world, "ab", KeyLimit(key="s", rate=Rate(count=1, per=86_400)))
    await world.lease("L1")
    await add(world, "b", KeyLimit(key="s", rate=Rate(count=1, per=2)))  # its owner changed it
    assert (await world.lease("L2")).next_due_at == world.due(2)
    world.advance(2)
    assert (await world.lease("L3")).job_ids == ["b"]


async def test_a_key_without_tokens_holds_nobody_else_back(world: World) -> None:
    await add(world, "abcd", SLOW)
    await add(world, "x", None, due_in=0)
    world.advance(1)
    assert (await world.lease("L1")).job_ids == ["a", "b", "x"]


async def test_a_fast_rate_wakes_nobody_for_every_token(world: World) -> None:
    await add(world, "abcdef", KeyLimit(key="f", rate=Rate(count=1000, per=1, burst=2)))
    await world.lease("L1", limit=2)
    assert (await world.lease("L2")).next_due_at == world.due(0.002)


async def test_the_token_of_who_has_ended_stays_spent(world: World) -> None:
    # Nobody was in line when it was leased, so that nobody had asked for its token.
    slow = KeyLimit(key="s", rate=Rate(count=1, per=60))
    await add(world, "a", slow)
    await world.lease("L1")
    await world.queue.ack([world.held("a", "L1")])
    await add(world, "b", slow)
    assert (await world.lease("L2")).next_due_at == world.due(60)


async def test_a_token_comes_back_also_where_nobody_has_asked_for_it_yet(world: World) -> None:
    slow = KeyLimit(key="s", rate=Rate(count=1, per=60))
    await add(world, "a", slow)
    await world.lease("L1")
    await world.queue.forgo([world.held("a", "L1")])
    await add(world, "b", slow)
    assert (await world.lease("L2")).job_ids == ["b"]


async def test_who_becomes_due_waits_for_the_token_of_who_started_before(world: World) -> None:
    slow = KeyLimit(key="s", rate=Rate(count=1, per=60))
    await add(world, "b", slow, due_in=20)
    await add(world, "a", slow)
    await world.lease("L1")
    world.advance(20)
    grant = await world.lease("L2")
    assert (grant.job_ids, grant.next_due_at) == ([], world.due(40))


async def test_a_recount_takes_the_tokens_of_who_has_started(world: World) -> None:
    slow = KeyLimit(key="s", rate=Rate(count=2, per=60))
    await add(world, "abc", slow)
    await world.lease("L1", limit=1)
    await world.lease("L2", limit=1)
    await world.queue.recount("default")
    grant = await world.lease("L3")
    assert (grant.job_ids, grant.next_due_at) == ([], world.due(30))
