"""Concurrency of keys, one suite on the fake and on Redis: nobody runs beyond a limit, nobody waits
without one.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipeline.domain.limits import KeyLimit
from tests.limited_jobs import ONE, TWO, add, taken
from tests.queue_worlds import TTL, World, a_world

AGES = TTL.total_seconds() + 1


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


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


async def test_who_waits_no_more_is_passed_over(world: World) -> None:
    await add(world, "abcd", ONE)
    await world.queue.withdraw("default", ["a", "c", "nobody"])
    assert (await world.lease("L1")).job_ids == ["b"]
    await world.queue.withdraw("default", ["b"])  # it runs: that is its worker's to end
    assert (await world.lease("L2", "w2")).job_ids == []
    await world.queue.ack([world.held("b", "L1")])
    assert (await world.lease("L3", "w2")).job_ids == ["d"]


async def test_somebody_is_woken_for_who_may_run_since_another_waits_no_more(world: World) -> None:
    await add(world, "ab", ONE)
    world.take_token()
    await world.queue.withdraw("default", ["a"])
    assert world.take_token()
    assert (await world.lease("L1")).job_ids == ["b"]
    await world.queue.withdraw("default", ["b"])
    assert not world.take_token()


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
