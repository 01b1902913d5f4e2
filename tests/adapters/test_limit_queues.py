"""The limit of a queue, and what a person sees of limits: one suite on the fake and on Redis."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit, Rate
from pipeline.ports import Room
from tests.limited_jobs import ONE, SLOW, TWO, add
from tests.queue_worlds import World, a_world


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


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
    world.advance(0.5)
    assert (await world.lease("L3")).job_ids == ["c"]


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
