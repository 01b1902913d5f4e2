"""Sleepers are woken one by one, as far as there is work: one suite on the fake and on Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.queue_worlds import World, a_world
from tests.support import eventually


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


async def test_a_push_wakes_one_sleeper(world: World) -> None:
    async with asyncio.TaskGroup() as workers:
        tasks = [workers.create_task(world.queue.await_work("default")) for _ in range(2)]
        await eventually(lambda: world.sleeping() == 2)
        await world.add("a")
        await eventually(lambda: any(task.done() for task in tasks))
        assert world.sleeping() == 1
        await world.add("b")


async def test_a_push_that_nobody_waits_for_wakes_the_next_who_does(world: World) -> None:
    await world.add("a")
    await asyncio.wait_for(world.queue.await_work("default"), 5)
    assert not world.take_token()


async def test_one_token_is_enough(world: World) -> None:
    for number in range(5):
        await world.add(f"j{number}")
    assert world.take_token()
    assert not world.take_token()


async def test_a_worker_that_took_its_fill_wakes_the_next(world: World) -> None:
    # A crowd wakes one by one, as far as there is work.
    await world.queue.add([world.entry("a"), world.entry("b"), world.entry("c")])
    assert world.take_token()
    await world.lease("L1", "w1", limit=2)
    assert world.take_token()
    await world.lease("L2", "w2", limit=2)
    assert not world.take_token()


async def test_a_worker_that_took_its_fill_leaves_the_next_due_time_to_another(
    world: World,
) -> None:
    # w1 alone has its timer set to b. It takes a, is full, and would sleep through b.
    await world.add("a")
    await world.add("b", due_in=1)
    world.take_token()
    await world.lease("L1", "w1", limit=1)
    assert world.take_token()
    assert (await world.lease("L2", "w2", limit=1)).next_due_at == world.due(1)
    assert not world.take_token()


async def test_a_job_due_sooner_than_all_others_wakes(world: World) -> None:
    # Sleepers have set their timers to the first due time that they heard of.
    await world.add("a", due_in=10)
    assert world.take_token()
    await world.add("b", due_in=20)
    assert not world.take_token()
    await world.add("c", due_in=5)
    assert world.take_token()
    assert await world.queue.restore([world.entry("d", due_in=4)]) == ["d"]
    assert world.take_token()


async def test_a_wake_up_can_be_passed_on(world: World) -> None:
    await world.queue.pass_on("default")
    await world.queue.pass_on("default")
    assert world.take_token()
    assert not world.take_token()


async def test_a_dispatcher_is_woken_when_a_pending_job_was_written(world: World) -> None:
    async with asyncio.TaskGroup() as dispatchers:
        waiting = dispatchers.create_task(world.queue.await_dispatch())
        await world.queue.wake_dispatcher()
        await asyncio.wait_for(waiting, 5)


async def test_a_nudge_reaches_its_worker_also_one_that_was_not_listening(world: World) -> None:
    await world.queue.nudge("w1")
    await world.queue.nudge("w1")
    await asyncio.wait_for(world.queue.await_nudge("w1"), 5)
    async with asyncio.TaskGroup() as workers:
        waiting = workers.create_task(world.queue.await_nudge("w1"))
        await world.queue.nudge("w2")
        await asyncio.sleep(0)
        assert not waiting.done(), "two nudges are one, and another's is none of ours"
        await world.queue.nudge("w1")
        await asyncio.wait_for(waiting, 5)
