""" "Run now", also in races: with a dispatch, a start, a change."""

import pytest

from pipeline import operator
from pipeline.domain.errors import Conflict, NotFound
from pipeline.domain.execution import ErrorInfo, Failed, Succeeded
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import JobStore
from tests.fakes.interposed import interposed
from tests.fakes.world import World

pytestmark = pytest.mark.unit

BOOM = Failed(ErrorInfo("Boom", "it broke"))


@pytest.fixture
def world() -> World:
    return World()


async def run_now(world: World, job_id: str, store: JobStore | None = None) -> Job:
    return await operator.run_now(job_id, store or world.store, world.queue, world.clock)


async def test_a_job_far_away_is_run_now(world: World) -> None:
    job_id = await world.stored(delay=3600)
    job = await run_now(world, job_id)
    assert (job.state, job.due_at) == (State.PENDING, world.now)
    assert world.queue.has_token("(dispatch)")
    assert await world.dispatched_and_run() == [job_id]


async def test_a_job_that_waits_in_redis_for_its_moment_is_run_now(world: World) -> None:
    """Queued in the look-ahead: the member with the old due time gives way to the new one."""
    job_id = await world.stored(delay=1)
    await world.dispatched()
    await run_now(world, job_id)
    assert await world.dispatched_and_run() == [job_id]
    world.clock.advance(2)
    assert await world.dispatched_and_run("l2") == []


async def test_a_job_that_is_due_stays_as_it_is(world: World) -> None:
    job_id = await world.ready()
    before = await world.job(job_id)
    assert await run_now(world, job_id) == before


async def test_a_retry_that_waits_is_run_now(world: World) -> None:
    job = await world.running(retry={"base": 3600, "jitter": "none"})
    await world.ended(job, BOOM)
    await run_now(world, job.id)
    assert await world.dispatched_and_run("l2") == [job.id]


async def test_what_runs_or_has_ended_is_not_run_now(world: World) -> None:
    job = await world.running()
    with pytest.raises(Conflict):
        await run_now(world, job.id)
    await world.ended(job, Succeeded())
    with pytest.raises(Conflict):
        await run_now(world, job.id)
    with pytest.raises(NotFound):
        await run_now(world, "no-such-job")


async def test_a_job_postponed_under_run_now_is_run_now(world: World) -> None:
    """It was due when we wrote, so that matched nothing; it is not when we read. Somebody asked for
    now after that, so it is made due."""
    job_id = await world.stored()

    async def postpone() -> None:
        later = {"delay": 60}
        await operator.change(job_id, later, world.store, world.queue, world.clock)

    job = await run_now(world, job_id, interposed(world.store, "hasten", after=postpone))
    assert job.due_at == world.now


async def test_run_now_works_without_redis(world: World) -> None:
    job_id = await world.stored(delay=60)
    world.queue.go_down()
    assert (await run_now(world, job_id)).due_at == world.now
