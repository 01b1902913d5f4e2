"""What runs by MongoDB and is leased by nobody is reaped, and nobody who lives is."""

from datetime import timedelta

import pytest

from pipeline.domain.execution import ErrorInfo, Failed, Outcome, Succeeded, conclude
from pipeline.domain.states import State
from pipeline.ports import Lease, LiveNote
from tests.fakes.live_notes import FakeLiveNotes
from tests.fakes.world import LEASE, World
from tests.reconciler_world import SECONDS, a_world, at_ease, look_for

pytestmark = pytest.mark.unit


@pytest.fixture
async def world() -> World:
    return await a_world()


async def leaseless(world: World) -> str:
    """H22: the start's reply is lost; the worker reads back, has not won, and drops the
    member; then the write is applied."""
    job_id = await world.ready()
    grant = await world.leased("l1")
    part = world.queue.part("default")
    del part.leased[job_id], part.keys[job_id]
    assert await world.started(grant, "l1")
    return job_id


async def test_h22_a_start_that_is_applied_late_leaves_no_job_running_for_ever(
    world: World,
) -> None:
    """H22: `running`, and no runner anywhere: absent in two looks a lease apart, it is reaped."""
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    await look_for(world, reconciler, 3 * SECONDS + 1)
    assert await world.outcomes(job_id) == [Outcome.LOST]
    assert await world.state(job_id) is State.PENDING


async def test_h22_what_a_leaseless_attempt_told_last_stands_in_its_record(world: World) -> None:
    """A replica took Redis over that had its notes, and not its lease."""
    notes = FakeLiveNotes()
    reconciler = await at_ease(world, notes=notes)
    job_id = await leaseless(world)
    await notes.tell({(job_id, 1): LiveNote(None, "the last line\n")}, LEASE)
    await look_for(world, reconciler, 3 * SECONDS + 1)
    (record,) = await world.store.executions(job_id)
    assert record.report == {"log": "the last line\n"}


async def test_h22_one_look_is_not_enough(world: World) -> None:
    """H22: Its heartbeat may be about to write the lease."""
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    await look_for(world, reconciler, 2 * SECONDS)
    assert await world.state(job_id) is State.RUNNING
    (job,) = world.store.jobs.values()
    await world.queue.extend([Lease.of(job)], timedelta(hours=1))
    await look_for(world, reconciler, 3 * SECONDS)
    assert await world.state(job_id) is State.RUNNING


@pytest.mark.parametrize("change", ["wipe", "fail_over"])
async def test_h22_two_looks_at_two_redises_prove_nothing(world: World, change: str) -> None:
    """H22: Between the looks Redis was lost: everything is absent, and everybody may be alive."""
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    await look_for(world, reconciler, 2 * SECONDS - 3)
    getattr(world.queue, change)()
    await look_for(world, reconciler, SECONDS)
    assert await world.state(job_id) is State.RUNNING
    await look_for(world, reconciler, SECONDS + 1)
    assert await world.outcomes(job_id) == [Outcome.LOST]


async def test_h22_what_ran_another_attempt_in_between_was_not_absent_twice(world: World) -> None:
    """H22: The looks are a little more than a lease apart, and attempt 2 began just after the
    first."""
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    await look_for(world, reconciler, 2 * SECONDS - 10)
    (job,) = world.store.jobs.values()
    record = conclude(job, Failed(ErrorInfo("a", "b")), finished_at=world.now, lot=0)
    await world.store.settle(await world.store.record([record]))
    await world.dispatched()
    grant = await world.leased("l2")
    await world.started(grant, "l2")
    part = world.queue.part("default")
    del part.leased[job_id], part.keys[job_id]
    world.clock.advance(SECONDS + 1)
    await reconciler.step()
    assert (await world.job(job_id)).attempt == 2
    assert await world.outcomes(job_id) == [Outcome.FAILED]


async def test_a_leaseless_job_whose_result_stands_is_settled_by_it(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    (job,) = world.store.jobs.values()
    await world.store.record([conclude(job, Succeeded(), finished_at=world.now, lot=0)])
    await look_for(world, reconciler, 3 * SECONDS + 1)
    assert await world.state(job_id) is State.SUCCEEDED


async def test_living_jobs_are_left_alone_however_long_they_run(world: World) -> None:
    reconciler = await at_ease(world)
    job = await world.running()
    for _ in range(50):
        await world.queue.extend([Lease.of(job)], LEASE)
        await look_for(world, reconciler, 9)
    after = await world.job(job.id)
    assert (after.state, after.attempt) == (State.RUNNING, 1)
