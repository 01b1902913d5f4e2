"""Leases that ran out, while others do something about them, too."""

import pytest

from pipeline.domain.execution import Outcome, Released, conclude
from pipeline.domain.states import State
from tests.fakes.interposed import Died, die, interposed
from tests.fakes.world import World
from tests.reaper_world import a_loss, a_world, acquainted, heartbeat, run_out

pytestmark = pytest.mark.unit


@pytest.fixture
async def world() -> World:
    return await a_world()


async def test_h12_a_lease_taken_anew_is_not_removed_for_the_old_one(world: World) -> None:
    """H12: The reaper reads "l1 is out, document pending"; the job is queued again and leased as
    l2; the reaper removes the member; worker 2 dies; nobody looks for the job again."""

    async def lease_again() -> None:
        await world.dispatched()
        assert await world.run("l2", worker="worker-2")

    reaper = await acquainted(world, queue=interposed(world.queue, "drop", before=lease_again))
    job = await world.running("l1")
    await world.store.settle(await world.store.record([a_loss(world, job)]))
    await run_out(world, reaper)
    assert world.is_leased(job.id)
    assert await world.state(job.id) is State.RUNNING


async def test_h12_a_job_leased_anew_is_not_put_back_for_the_old_lease(world: World) -> None:
    """H12: The same with `queued`: moved although it is leased, it would have a member too many and
    its lease would be gone."""

    async def lease_again() -> None:
        (expired,) = await world.queue.expired("default", 100)
        entry = (await world.job(expired.job_id)).entry
        assert await world.queue.requeue("default", [(expired, entry)]) == 1
        assert (await world.leased("l2", worker="worker-2")).job_ids == [expired.job_id]

    reaper = await acquainted(world, queue=interposed(world.queue, "requeue", before=lease_again))
    job_id = await world.ready()
    await world.leased("l1")
    await run_out(world, reaper)
    assert world.is_leased(job_id)
    assert not world.is_waiting(job_id)


async def test_h12_a_reaper_held_up_does_not_lose_the_next_attempt(world: World) -> None:
    """H12: It reads "l1 is out" and is stopped. Another reaps attempt 1, worker 2 runs attempt 2.
    Going on, it reads `running`, and would insert `lost` for the living attempt 2."""

    async def go_round() -> None:
        await world.store.settle(await world.store.record([a_loss(world, job)]))
        await world.dispatched()
        assert [again.attempt for again in await world.run("l2", worker="worker-2")] == [2]

    reaper = await acquainted(world, store=interposed(world.store, "get_many", before=go_round))
    job = await world.running("l1")
    await run_out(world, reaper)
    assert await world.outcomes(job.id) == [Outcome.LOST]
    after = await world.job(job.id)
    assert (after.state, after.attempt) == (State.RUNNING, 2)
    assert world.is_leased(job.id)


async def test_a_heartbeat_in_the_last_moment_saves_the_attempt(world: World) -> None:
    async def beat() -> None:
        await heartbeat(world, job)

    reaper = await acquainted(world, store=interposed(world.store, "get_many", before=beat))
    job = await world.running("l1")
    await run_out(world, reaper)
    assert await world.state(job.id) is State.RUNNING


async def test_two_reapers_lose_an_attempt_once(world: World) -> None:
    """Both read the same member and the same document; one record, one loss."""
    other = await acquainted(world)
    reaper = await acquainted(
        world, store=interposed(world.store, "record", before=lambda: other.step())
    )
    await other.step()
    job = await world.running()
    await run_out(world, reaper)
    assert (await world.job(job.id)).losses == 1
    assert await world.outcomes(job.id) == [Outcome.LOST]


async def test_h14_a_job_released_by_a_worker_that_dies_is_found_again(world: World) -> None:
    """H14: It inserts `released` and dies. The reaper settles and removes the member. Settled to
    `queued`, its one check by the reconciler would be used up already and nobody would look;
    `pending` has an owner."""
    reaper = await acquainted(world)
    job = await world.running()
    await world.store.record([conclude(job, Released(), finished_at=world.now, lot=0)])
    await run_out(world, reaper)
    after = await world.job(job.id)
    assert (after.state, after.losses, after.failures) == (State.PENDING, 0, 0)
    assert not world.is_leased(job.id)
    await world.dispatched()
    assert [again.attempt for again in await world.run("l2")] == [2]


@pytest.mark.parametrize("method", ["record", "settle", "drop"])
async def test_a_reaper_that_dies_half_way_is_finished_by_the_next(
    world: World, method: str
) -> None:
    reaper = await (
        acquainted(world, queue=interposed(world.queue, method, before=die))
        if method == "drop"
        else acquainted(world, store=interposed(world.store, method, before=die))
    )
    job = await world.running()
    with pytest.raises(Died):
        await run_out(world, reaper)
    await run_out(world, await acquainted(world))
    after = await world.job(job.id)
    assert (after.state, after.losses) == (State.PENDING, 1)
    assert not world.is_leased(job.id)
