"""Leases that have run out, one suite on the fake and on Redis: what the reaper may do to them.

H-numbers are the holes of docs/explanation/protocol.md; each comment tells the interleaving.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipeline.ports import ExpiredLease
from tests.queue_worlds import TTL, World, a_world

AGES = TTL.total_seconds() + 1
"""Longer than any lease here."""


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


async def overtaken(world: World) -> ExpiredLease:
    """What the reaper saw of L1, which ran out; its job is leased as L2 by now."""
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    seen = await world.expired()
    await world.add("a")
    await world.lease("L2", "w2")
    return seen["a"]


async def test_the_reaper_spares_a_job_that_was_leased_again__h12(world: World) -> None:
    """H12: The reaper reads "L1 ran out, document pending" and stops. The job is queued again and
    leased as L2. The reaper goes on and would remove the lease of L2, whose worker then dies."""
    seen = await overtaken(world)
    assert await world.queue.drop("default", [seen]) == 0
    assert await world.queue.requeue("default", [(seen, world.entry("a"))]) == 0
    assert world.snapshot().owners == {"a": "w2 L2"}
    world.advance(AGES)
    assert list(await world.expired()) == ["a"]


async def test_what_the_reaper_decided_of_one_lease_is_not_done_to_the_next__h12(
    world: World,
) -> None:
    """H12: As before, but L2 has run out as well when the reaper goes on: still not the one it
    saw."""
    seen = await overtaken(world)
    world.advance(AGES)
    assert await world.queue.drop("default", [seen]) == 0
    assert await world.queue.requeue("default", [(seen, world.entry("a"))]) == 0
    assert list(await world.expired()) == ["a"]


async def test_the_reaper_spares_a_lease_that_was_extended_meanwhile__h12(world: World) -> None:
    """H12: After an outage the worker's heartbeat comes between the reaper's look and its move."""
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    seen = await world.expired()
    await world.queue.extend([world.held("a", "L1")], TTL)
    assert await world.queue.drop("default", [seen["a"]]) == 0
    assert await world.queue.requeue("default", [(seen["a"], world.entry("a"))]) == 0
    assert world.snapshot().owners == {"a": "w1 L1"}


async def test_a_lease_that_runs_is_neither_dropped_nor_moved__h12(world: World) -> None:
    """H12: whoever the reaper is and whatever it believes, only an expired lease is its."""
    await world.add("a")
    await world.lease("L1")
    running = ExpiredLease("a", world.snapshot().leased["a"])
    assert await world.queue.drop("default", [running]) == 0
    assert await world.queue.requeue("default", [(running, world.entry("a"))]) == 0
    assert list(world.snapshot().leased) == ["a"]


async def test_removing_a_released_lease_leaves_the_waiting_member__h14(world: World) -> None:
    """H14: A worker releases (document pending) and dies before it gives back. The job is
    dispatched again and waits; only then the reaper removes the old lease."""
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    seen = await world.expired()
    await world.add("a")
    assert await world.queue.drop("default", [seen["a"]]) == 1
    assert (await world.lease("L2", "w2")).job_ids == ["a"]


async def test_a_lease_that_ran_out_is_left_to_the_reaper(world: World) -> None:
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    await world.queue.ack([world.held("a", "L1")])
    await world.queue.give_back([(world.held("a", "L1"), world.entry("a"))])
    assert list(await world.expired()) == ["a"]
    assert world.snapshot().ready == {}


async def test_leases_expire_at_their_deadline_the_oldest_first(world: World) -> None:
    for number in range(3):
        await world.add(f"j{number}")
        await world.lease(f"L{number}")
        world.advance(1)
    world.advance(TTL.total_seconds() - 4)
    assert await world.expired() == {}
    world.advance(2)
    seen = await world.queue.expired("default", 10)
    assert [lease.job_id for lease in seen] == ["j0", "j1"]
    assert await world.queue.expired("default", 1) == seen[:1]


async def test_an_expired_lease_is_moved_back_once_and_wakes(world: World) -> None:
    await world.add("a", priority=8)
    await world.add("b")
    await world.lease("L1")
    world.advance(AGES)
    seen = await world.expired()
    world.take_token()
    moves = [(seen["a"], world.entry("a", priority=8)), (seen["b"], world.entry("b", due_in=5))]
    assert await world.queue.requeue("default", moves) == 2
    assert await world.queue.requeue("default", moves) == 0
    assert world.take_token()
    snapshot = world.snapshot()
    assert (list(snapshot.ready), list(snapshot.delayed), snapshot.leased) == (["a"], ["b"], {})
