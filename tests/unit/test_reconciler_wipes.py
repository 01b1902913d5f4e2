"""A Redis that is another one than before is filled again, by any number of reconcilers."""

import pytest

from pipeline.domain.errors import Unavailable
from tests.fakes.interposed import Died, die, interposed
from tests.fakes.world import World
from tests.reconciler_world import a_reconciler, a_world, at_ease, look_for

pytestmark = pytest.mark.unit


@pytest.fixture
async def world() -> World:
    return await a_world()


async def test_a_wiped_redis_is_filled_again_at_the_next_look(world: World) -> None:
    reconciler = await at_ease(world)
    jobs = [await world.ready() for _ in range(3)]
    await look_for(world, reconciler, 60)
    world.queue.wipe()
    await reconciler.step()
    assert all(world.is_waiting(job_id) for job_id in jobs)


async def test_a_failover_that_lost_the_last_writes_is_noticed(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await world.ready()
    await look_for(world, reconciler, 60)
    world.queue.part("default").ready.clear()
    await reconciler.step()
    assert not world.is_waiting(job_id)
    world.queue.fail_over()
    await reconciler.step()
    assert world.is_waiting(job_id)


async def test_h18_a_generation_that_was_set_and_not_followed_by_a_pass_is_no_base(
    world: World,
) -> None:
    """H18: Redis is wiped; a reconciler sets the new generation and dies before its pass. The next
    one to start finds a generation key and must not take it for "all is well"."""
    job_id = await world.ready()
    world.clock.advance(60)
    world.queue.wipe()
    dying = a_reconciler(world, store=interposed(world.store, "queued_jobs", before=die))
    with pytest.raises(Died):
        await dying.step()
    assert (await world.queue.incarnation("default")).generation is not None
    await a_reconciler(world).step()
    assert world.is_waiting(job_id)


async def test_h18_another_reconciler_does_not_rely_on_the_one_that_set_the_generation(
    world: World,
) -> None:
    """H18: The same with a second one that has been running all the time."""
    steady = await at_ease(world)
    job_id = await world.ready()
    await look_for(world, steady, 60)
    world.queue.wipe()
    dying = a_reconciler(world, store=interposed(world.store, "queued_jobs", before=die))
    with pytest.raises(Died):
        await dying.step()
    await steady.step()
    assert world.is_waiting(job_id)


async def test_h18_a_wipe_during_the_pass_is_seen_after_it(world: World) -> None:
    """H18: The pass restores everything, Redis is wiped, another reconciler sets a generation; read
    only now, after the pass, that generation would be remembered as the one the pass was for."""
    job_id = await world.stored()
    world.clock.advance(60)

    async def wipe() -> None:
        world.queue.wipe()
        await world.queue.begin_generation("default", "g2")

    reconciler = a_reconciler(world, queue=interposed(world.queue, "restore", after=wipe))
    await reconciler.step()
    assert not world.is_waiting(job_id)
    world.clock.advance(1)
    await reconciler.step()
    assert world.is_waiting(job_id)


async def test_h18_each_queue_has_a_generation_of_its_own(world: World) -> None:
    """H18: One shard of a cluster is lost: the keys of one queue are gone, another's are there. One
    key for all of them would say that nothing has happened."""
    reconciler = await at_ease(world)
    lost, kept = await world.ready(queue="lost"), await world.ready(queue="kept")
    await look_for(world, reconciler, 60)
    part = world.queue.part("lost")
    part.ready.clear()
    part.generation = None
    await reconciler.step()
    assert world.is_waiting(lost, "lost")
    assert world.is_waiting(kept, "kept")


async def test_a_pass_that_redis_interrupts_is_made_again(world: World) -> None:
    job_id = await world.stored()
    world.clock.advance(60)
    reconciler = a_reconciler(world)
    world.queue.fail_next("restore", Unavailable, applied=False)
    with pytest.raises(Unavailable):
        await reconciler.step()
    await reconciler.step()
    assert world.is_waiting(job_id)


async def test_a_pass_after_a_wipe_that_redis_interrupts_is_made_again(world: World) -> None:
    """Remembered before it was complete, the new Redis would count as filled."""
    reconciler = await at_ease(world)
    job_id = await world.ready()
    await look_for(world, reconciler, 60)
    world.queue.wipe()
    world.queue.fail_next("restore", Unavailable, applied=False)
    with pytest.raises(Unavailable):
        await reconciler.step()
    await reconciler.step()
    assert world.is_waiting(job_id)
