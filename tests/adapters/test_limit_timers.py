"""Who waits for a token has a timer, whatever made it wait: beside idle workers that are all asleep
somebody is woken to set one. One suite on the fake and on Redis.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipeline.domain.limits import KeyLimit, Rate
from tests.limited_jobs import add
from tests.queue_worlds import TTL, World, a_world

BOTH = KeyLimit(key="s", concurrency=1, rate=Rate(count=1, per=100))


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


async def test_the_end_of_a_lease_sets_the_timer_of_who_waits_for_a_token_now(
    world: World,
) -> None:
    await one_runs_and_all_sleep(world)
    await world.queue.ack([world.held("a", "L1")])
    await a_timer_is_set(world, 99)


async def test_a_lease_that_the_reaper_ends_sets_that_timer(world: World) -> None:
    await one_runs_and_all_sleep(world)
    world.advance(30)
    await world.queue.drop("default", [(await world.expired())["a"]])
    await a_timer_is_set(world, 69)


async def test_a_heartbeat_by_which_a_slot_is_free_sets_that_timer(world: World) -> None:
    await one_runs_and_all_sleep(world)
    await world.queue.extend([world.held("a", "L1", limit_key="another")], TTL)
    await a_timer_is_set(world, 99)


async def test_a_recount_that_finds_a_slot_nobody_has_sets_that_timer(world: World) -> None:
    await one_runs_and_all_sleep(world)
    world.forget_lease("a")
    await world.queue.recount("default")
    await a_timer_is_set(world, 99)


async def test_a_token_that_is_given_back_sets_the_timer_of_who_needs_more_of_them(
    world: World,
) -> None:
    # The first in line has another rate than those that started.
    await add(world, "ab", KeyLimit(key="s", rate=Rate(count=2, per=20)))
    await world.lease("L1")
    await add(world, "c", KeyLimit(key="s", rate=Rate(count=1, per=100)))
    assert (await world.lease("L2", "w2")).next_due_at == world.due(20)
    world.take_token()
    await world.queue.forgo([world.held("a", "L1")])
    await a_timer_is_set(world, 10)


async def one_runs_and_all_sleep(world: World) -> None:
    """The other waits for its slot, and there is nothing to set a timer to."""
    await add(world, "ab", BOTH)
    assert (await world.lease("L1")).job_ids == ["a"]
    world.advance(1)
    assert (await world.lease("L2", "w2")).next_due_at is None
    world.take_token()


async def a_timer_is_set(world: World, seconds: float) -> None:
    """Somebody is woken, looks, and learns when to look again."""
    assert world.take_token()
    grant = await world.lease("L3", "w2")
    assert (grant.job_ids, grant.next_due_at) == ([], world.due(seconds))
