"""What was asked of whole queues outlives Redis: pauses, limits. No wake-up is lost for good."""

import pytest

from pipeline.domain.execution import Succeeded
from pipeline.domain.limits import NO_LIMIT, Limit
from pipeline.ports import Lease
from tests.fakes.interposed import interposed
from tests.fakes.world import LEASE, World
from tests.reconciler_world import a_world, at_ease, look_for

pytestmark = pytest.mark.unit


@pytest.fixture
async def world() -> World:
    return await a_world()


# -- pauses


async def test_a_pause_outlives_redis(world: World) -> None:
    """Nothing of a paused queue may be leased: not even between the wipe and two looks after it,
    when the jobs are back and the pause is not."""

    async def lease() -> None:
        assert (await world.leased("l1")).job_ids == []

    reconciler = await at_ease(world, queue=interposed(world.queue, "restore", after=lease))
    await world.store.pause_queue("default")
    await world.queue.pause("default")
    await world.ready()
    world.clock.advance(1)
    world.queue.wipe()
    await reconciler.step()
    grant = await world.leased("l2")
    assert (grant.job_ids, grant.paused) == ([], True)
    assert (await world.queue.view("default")).ready == 1


async def test_a_pause_that_was_half_written_is_completed(world: World) -> None:
    reconciler = await at_ease(world)
    await world.store.pause_queue("default")
    await look_for(world, reconciler, 2)
    assert (await world.queue.view("default")).paused


async def test_a_resume_that_was_half_written_is_completed(world: World) -> None:
    reconciler = await at_ease(world)
    await world.queue.pause("default")
    await look_for(world, reconciler, 2)
    assert not (await world.queue.view("default")).paused


async def test_a_pause_under_way_is_not_undone(world: World) -> None:
    """One look falls between its two writes; the next finds both."""
    reconciler = await at_ease(world)
    await world.queue.pause("default")
    await reconciler.step()
    assert (await world.queue.view("default")).paused
    await world.store.pause_queue("default")
    await look_for(world, reconciler, 5)
    assert (await world.queue.view("default")).paused


# -- limits


async def test_a_limit_outlives_redis(world: World) -> None:
    """No job beyond the limit is leased: not even between the wipe and two looks after it."""

    async def lease() -> None:
        assert len((await world.leased("l1")).job_ids) == 1

    reconciler = await at_ease(world, queue=interposed(world.queue, "restore", after=lease))
    await limit_both(world, Limit(concurrency=1))
    for _ in range(3):
        await world.ready()
    world.clock.advance(1)
    world.queue.wipe()
    await reconciler.step()
    assert (await world.leased("l2")).job_ids == []
    assert (await world.queue.view("default")).leased == 1


async def test_a_wipe_leaves_no_key_with_more_room_than_it_has(world: World) -> None:
    """The heartbeat brings back the leases, and with them what they hold of the key's limit."""
    reconciler = await at_ease(world)
    asked = {"key": "customer-7", "concurrency": 1}
    job = await world.running(limits=asked)
    waiting = await world.ready(limits=asked)
    world.clock.advance(1)
    world.queue.wipe()
    await world.queue.extend([Lease.of(job)], LEASE)
    await reconciler.step()
    assert (await world.leased("l2")).job_ids == []
    await world.ended(job, Succeeded(1))
    assert (await world.leased("l3")).job_ids == [waiting]


async def test_a_limit_that_was_half_written_is_completed(world: World) -> None:
    reconciler = await at_ease(world)
    await world.store.limit_queue("default", Limit(concurrency=7))
    await look_for(world, reconciler, 2)
    assert (await world.queue.view("default")).limit == "7 0 0"
    await world.store.limit_queue("default", NO_LIMIT)
    await look_for(world, reconciler, 2)
    assert (await world.queue.view("default")).limit == ""


async def test_a_limit_under_way_is_not_undone(world: World) -> None:
    """One look falls between its two writes; the next finds both."""
    reconciler = await at_ease(world)
    await world.queue.limit("default", Limit(concurrency=7))
    await reconciler.step()
    assert (await world.queue.view("default")).limit == "7 0 0"
    await world.store.limit_queue("default", Limit(concurrency=7))
    await look_for(world, reconciler, 5)
    assert (await world.queue.view("default")).limit == "7 0 0"


async def test_a_slot_that_nobody_holds_is_free_after_a_full_pass(world: World) -> None:
    """A process that knows no limits acknowledged the lease."""
    reconciler = await at_ease(world)
    asked = {"key": "customer-7", "concurrency": 1}
    job = await world.running(limits=asked)
    waiting = await world.ready(limits=asked)
    del world.queue.part("default").leased[job.id]
    assert (await world.leased("l2")).job_ids == []
    await look_for(world, reconciler, 301)
    assert (await world.leased("l3")).job_ids == [waiting]


async def test_a_queue_at_its_limit_is_left_to_sleep(world: World) -> None:
    reconciler = await at_ease(world)
    await limit_both(world, Limit(concurrency=1))
    await world.ready()
    await world.ready()
    await world.run("l1")
    world.queue.take_token("default")
    await look_for(world, reconciler, 3)
    assert not world.queue.has_token("default")


async def limit_both(world: World, limit: Limit) -> None:
    """As the gateway does it."""
    await world.store.limit_queue("default", limit)
    await world.queue.limit("default", limit)


# -- wake-ups


async def test_a_wake_up_that_died_with_its_worker_is_given_again(world: World) -> None:
    """A worker takes the token and is killed before it leases: nobody else would look for long."""
    reconciler = await at_ease(world)
    job_id = await world.stored()
    await world.queue.add([(await world.store.get_many([job_id]))[job_id].entry])
    assert world.queue.take_token("default")
    await reconciler.step()
    assert not world.queue.has_token("default"), "it may be on its way"
    await look_for(world, reconciler, 2)
    assert world.queue.has_token("default")


async def test_a_paused_queue_is_left_to_sleep(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await world.stored()
    await world.queue.add([(await world.store.get_many([job_id]))[job_id].entry])
    await world.store.pause_queue("default")
    await world.queue.pause("default")
    world.queue.take_token("default")
    await look_for(world, reconciler, 3)
    assert not world.queue.has_token("default")
