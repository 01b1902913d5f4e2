"""What a person asks of one job, in every race."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline import operator
from pipeline.domain.errors import Conflict, NotFound, Unavailable, UnknownOutcome
from pipeline.domain.execution import (
    ErrorInfo,
    Failed,
    Outcome,
    Released,
    Succeeded,
    conclude,
)
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import JobStore
from tests.fakes.interposed import interposed
from tests.fakes.world import World

pytestmark = pytest.mark.unit

BOOM = Failed(ErrorInfo("Boom", "it broke"))
GONE = Failed(ErrorInfo("Boom", "it broke"), retryable=False)


@pytest.fixture
def world() -> World:
    return World()


async def cancel(world: World, job_id: str, store: JobStore | None = None) -> Job:
    return await operator.cancel(job_id, store or world.store, world.clock)


# -- cancel


@pytest.mark.parametrize("delay", [0, 60])
async def test_a_waiting_job_is_cancelled_without_an_execution(world: World, delay: float) -> None:
    job_id = await world.stored(delay=delay)
    assert (await cancel(world, job_id)).state is State.CANCELLED
    assert await world.outcomes(job_id) == []


async def test_a_running_job_is_cancelled_by_the_record_of_its_attempt(world: World) -> None:
    job = await world.running()
    assert (await cancel(world, job.id)).state is State.CANCELLED
    assert await world.outcomes(job.id) == [Outcome.CANCELLED]


async def test_the_result_of_a_cancelled_attempt_comes_too_late(world: World) -> None:
    job = await world.running()
    await cancel(world, job.id)
    standing = await world.ended(job, Succeeded())
    assert standing.outcome is Outcome.CANCELLED
    assert await world.state(job.id) is State.CANCELLED


async def test_to_cancel_twice_is_to_cancel(world: World) -> None:
    job_id = await world.stored()
    await cancel(world, job_id)
    assert (await cancel(world, job_id)).state is State.CANCELLED


@pytest.mark.parametrize("ending", [Succeeded(), GONE])
async def test_what_has_ended_cannot_be_cancelled(world: World, ending: Succeeded | Failed) -> None:
    job = await world.running()
    await world.ended(job, ending)
    with pytest.raises(Conflict):
        await cancel(world, job.id)


async def test_an_unknown_job_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await cancel(world, "no-such-job")


async def test_h9_a_start_that_wins_between_look_and_write_does_not_save_the_job(
    world: World,
) -> None:
    """H9: Cancel reads `queued`; a worker wins the start; the conditional write matches nothing; an
    answer of 409 would be wrong, since the job is not final."""
    job_id = await world.ready()

    async def start() -> None:
        assert await world.run("lease-1")

    store = interposed(world.store, "cancel_waiting", before=start)
    assert (await cancel(world, job_id, store)).state is State.CANCELLED
    assert await world.outcomes(job_id) == [Outcome.CANCELLED]


async def test_h9_a_failure_that_is_recorded_first_does_not_save_the_job(world: World) -> None:
    """H9: Cancel reads `running`; the worker's `failed` is there first; cancel's record is a
    duplicate. Settled by what stands the job is to be retried: not final, so cancel reads again."""
    job = await world.running(retry={"base": 60, "jitter": "none"})

    async def fail() -> None:
        await world.ended(job, BOOM)

    store = interposed(world.store, "record", before=fail)
    assert (await cancel(world, job.id, store)).state is State.CANCELLED
    assert await world.outcomes(job.id) == [Outcome.FAILED]


async def test_h9_cancel_settles_by_a_record_whose_writer_died(world: World) -> None:
    """H9: The record stands and nobody has settled: cancel does, and then cancels what is left."""
    job = await world.running()
    await world.store.record([conclude(job, BOOM, finished_at=world.now, lot=0.9)])
    assert (await cancel(world, job.id)).state is State.CANCELLED
    assert (await world.job(job.id)).failures == 1


async def test_a_success_that_is_recorded_first_stands(world: World) -> None:
    job = await world.running()

    async def succeed() -> None:
        await world.ended(job, Succeeded())

    with pytest.raises(Conflict):
        await cancel(world, job.id, interposed(world.store, "record", before=succeed))
    assert await world.state(job.id) is State.SUCCEEDED


async def test_cancel_follows_the_job_through_release_dispatch_and_a_second_start(
    world: World,
) -> None:
    """It reads attempt 1; when it writes, attempt 2 runs. Its record would be that of attempt 1."""
    job = await world.running("l1")

    async def go_round() -> None:
        await world.ended(job, Released())
        await world.dispatched()
        assert await world.run("l2", worker="worker-2")

    store = interposed(world.store, "record", before=go_round)
    assert (await cancel(world, job.id, store)).state is State.CANCELLED
    assert await world.outcomes(job.id) == [Outcome.RELEASED, Outcome.CANCELLED]


async def test_a_cancel_that_gets_nowhere_does_not_spin_and_says_so(world: World) -> None:
    """The record that stands is of a lease that the document does not name: nothing settles it."""
    job = await world.running()
    record = conclude(job, Succeeded(), finished_at=world.now, lot=0.0)
    await world.store.record([replace(record, lease_id="another")])
    asked = asyncio.ensure_future(cancel(world, job.id))
    await world.clock.run(0.3)
    assert not asked.done()
    await world.clock.run(10)
    assert asked.done()
    with pytest.raises(Unavailable, match="hold still"):
        await asked


async def test_a_cancel_with_an_unknown_outcome_may_be_repeated(world: World) -> None:
    job = await world.running()
    world.store.fail("settle", applied=False)
    with pytest.raises(UnknownOutcome):
        await cancel(world, job.id)
    assert (await cancel(world, job.id)).state is State.CANCELLED


async def test_a_cancelled_job_that_still_waits_in_redis_is_not_started(world: World) -> None:
    job_id = await world.ready()
    await cancel(world, job_id)
    grant = await world.leased("lease-1")
    assert grant.job_ids == [job_id]
    assert await world.started(grant, "lease-1") == []


async def test_a_job_deleted_under_a_cancel_is_not_found(world: World) -> None:
    job_id = await world.stored()

    async def delete() -> None:
        await world.store.bury(job_id)

    with pytest.raises(NotFound):
        await cancel(world, job_id, interposed(world.store, "cancel_waiting", before=delete))


# -- redrive


async def dead(world: World) -> Job:
    job = await world.running()
    await world.ended(job, GONE)
    return job


async def test_a_dead_job_is_due_now_with_clean_counts(world: World) -> None:
    job = await dead(world)
    world.clock.advance(100)
    again = await operator.redrive(job.id, world.store, world.queue)
    assert (again.state, again.due_at) == (State.PENDING, world.now)
    assert (again.failures, again.losses, again.reason) == (0, 0, None)
    assert world.queue.has_token("(dispatch)")


async def test_a_cancelled_job_can_be_redriven(world: World) -> None:
    job_id = await world.stored()
    await cancel(world, job_id)
    assert (await operator.redrive(job_id, world.store, world.queue)).state is State.PENDING


async def test_h24_a_redriven_job_goes_on_counting_its_attempts(world: World) -> None:
    """H24: Counted from 1 again, attempt 1 would meet its own old record: the fresh result is
    thrown away for "failed", and a receiver that fences by the highest attempt refuses every
    call."""
    job = await dead(world)
    await operator.redrive(job.id, world.store, world.queue)
    await world.dispatched()
    (again,) = await world.run("l2")
    assert again.attempt == 2
    standing = await world.ended(again, Succeeded("fresh"))
    assert (standing.outcome, standing.result) == (Outcome.SUCCEEDED, "fresh")
    assert await world.state(job.id) is State.SUCCEEDED


@pytest.mark.parametrize("make", [World.stored, World.running])
async def test_only_what_is_dead_or_cancelled_can_be_redriven(
    world: World, make: Callable[[World], Awaitable[Job | str]]
) -> None:
    made = await make(world)
    job_id = made if isinstance(made, str) else made.id
    with pytest.raises(Conflict):
        await operator.redrive(job_id, world.store, world.queue)


async def test_success_cannot_be_redriven(world: World) -> None:
    job = await world.running()
    await world.ended(job, Succeeded())
    with pytest.raises(Conflict, match="succeeded"):
        await operator.redrive(job.id, world.store, world.queue)


async def test_a_redrive_works_without_redis(world: World) -> None:
    job = await dead(world)
    world.queue.go_down()
    assert (await operator.redrive(job.id, world.store, world.queue)).state is State.PENDING


async def test_an_expired_job_is_run_when_somebody_asks_for_it(world: World) -> None:
    expires = (world.now + timedelta(seconds=1)).isoformat()
    job_id = await world.stored(expires_at=expires)
    world.clock.advance(2)
    await world.store.expire(10)
    await operator.redrive(job_id, world.store, world.queue)
    assert await world.store.expire(10) == []
    await world.dispatched()
    assert await world.run("lease-1")


async def test_an_unknown_job_cannot_be_redriven(world: World) -> None:
    with pytest.raises(NotFound):
        await operator.redrive("no-such-job", world.store, world.queue)


# -- bury


async def test_a_buried_job_is_gone_with_its_executions(world: World) -> None:
    job = await dead(world)
    await operator.bury(job.id, world.store)
    assert await world.store.get(job.id) is None
    assert await world.outcomes(job.id) == []


async def test_a_running_job_is_not_buried(world: World) -> None:
    job = await world.running()
    with pytest.raises(Conflict):
        await operator.bury(job.id, world.store)
    assert await world.state(job.id) is State.RUNNING


async def test_a_job_that_starts_under_a_delete_is_not_buried(world: World) -> None:
    job_id = await world.ready()

    async def start() -> None:
        assert await world.run("lease-1")

    with pytest.raises(Conflict):
        await operator.bury(job_id, interposed(world.store, "bury", before=start))


async def test_a_delete_that_passes_another_is_a_delete(world: World) -> None:
    job_id = await world.stored()

    async def delete() -> None:
        await world.store.bury(job_id)

    await operator.bury(job_id, interposed(world.store, "bury", before=delete))
    with pytest.raises(NotFound):
        await operator.bury(job_id, world.store)
