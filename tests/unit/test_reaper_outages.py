"""H21: after an outage of Redis every lease has run out, and everybody may be alive."""

import asyncio
from datetime import timedelta

import pytest

from pipeline.domain.states import State
from pipeline.watchers.reaper import Reaper
from tests.fakes.clock import SeededChance
from tests.fakes.world import LEASE, World
from tests.reaper_world import SECONDS, a_reaper, a_world, acquainted, heartbeat, look_for

pytestmark = pytest.mark.unit


@pytest.fixture
async def world() -> World:
    return await a_world()


async def test_h21_a_reaper_that_has_just_begun_waits_for_one_lease(world: World) -> None:
    """H21: it cannot know whether there was an outage just before it began."""
    job = await world.running()
    world.clock.advance(10 * SECONDS)
    reaper = a_reaper(world)
    await look_for(world, reaper, SECONDS - 5)
    assert await world.state(job.id) is State.RUNNING
    world.clock.advance(5)
    await reaper.step()
    assert await world.state(job.id) is State.PENDING


async def test_h21_after_a_failover_the_living_have_time_to_extend(world: World) -> None:
    """H21: Redis is away for two leases and another server takes its place. The reaper is the first
    to look; the worker beats within a third of a lease."""
    reaper = await acquainted(world)
    job = await world.running()
    world.clock.advance(2 * SECONDS)
    world.queue.fail_over()
    await reaper.step()
    assert await world.state(job.id) is State.RUNNING
    world.clock.advance(SECONDS / 3)
    await heartbeat(world, job)
    for _ in range(20):
        await reaper.step()
        await heartbeat(world, job)
        world.clock.advance(5)
    assert (await world.job(job.id)).losses == 0


async def test_h21_a_failover_in_no_time_loses_the_last_heartbeats_and_no_job(
    world: World,
) -> None:
    """H21: Replication is asynchronous: the new server has the lease as it was before its
    extension. No look of ours failed and none was late; only the replication id tells."""
    reaper = await acquainted(world)
    job = await world.running()
    await look_for(world, reaper, SECONDS - 5)
    world.queue.fail_over()
    world.clock.advance(5)
    await reaper.step()
    assert await world.state(job.id) is State.RUNNING
    await heartbeat(world, job)
    await look_for(world, reaper, SECONDS - 5)
    assert (await world.job(job.id)).losses == 0


@pytest.mark.parametrize("silently", [True, False])
async def test_h21_an_outage_of_the_very_same_redis_is_an_outage(
    world: World, silently: bool
) -> None:
    """H21: A network that parts, or a Redis that is stopped and goes on: generation and replication
    id are what they were. The reaper either meets errors, or its one call hangs and then
    succeeds."""
    reaper = await acquainted(world)
    job = await world.running()
    for _ in range(round(2 * SECONDS / 5)):
        if not silently:
            world.queue.go_down()
            with pytest.raises(Exception, match="Redis"):
                await reaper.step()
        world.clock.advance(5)
    world.queue.come_back()
    await reaper.step()
    assert await world.state(job.id) is State.RUNNING
    await heartbeat(world, job)
    await look_for(world, reaper, SECONDS - 5)
    assert (await world.job(job.id)).losses == 0


async def test_h21_what_died_in_the_outage_is_still_reaped_a_lease_later(world: World) -> None:
    """H21: the pause is for the living; the dead are found when it is over."""
    reaper = await acquainted(world)
    job = await world.running()
    world.clock.advance(2 * SECONDS)
    await look_for(world, reaper, SECONDS)
    assert await world.state(job.id) is State.PENDING


async def test_h21_without_a_generation_nothing_is_reaped(world: World) -> None:
    """H21: Wiped, and no reconciler has looked yet: what is there says nothing about who lives."""
    reaper = await acquainted(world)
    world.queue.wipe()
    job = await world.running()
    await look_for(world, reaper, 3 * SECONDS)
    assert await world.state(job.id) is State.RUNNING


async def test_its_loop_looks_often_enough_to_see_no_outage_in_its_own_pauses(
    world: World,
) -> None:
    for lease in (timedelta(seconds=1), timedelta(seconds=3), LEASE):
        reaper = Reaper(world.store, world.queue, world.clock, lease)
        job = await world.running(f"lease-{lease}")
        loop = reaper.loop(SeededChance(1))
        running = asyncio.ensure_future(loop.run())
        await world.clock.run(LEASE.total_seconds() + 2 * lease.total_seconds())
        loop.stop()
        await running
        assert await world.state(job.id) is State.PENDING
