"""One suite for the truth, run on the fake and on MongoDB: how attempts end."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from pipeline.domain.execution import (
    ErrorInfo,
    Failed,
    Lost,
    Outcome,
    Released,
    Succeeded,
    conclude,
)
from pipeline.domain.job import Job
from pipeline.domain.states import State
from tests.builders import a_claim, a_submission, an_id
from tests.store_world import World, a_world

BOOM = Failed(ErrorInfo("Boom", "it broke"))
GONE = Lost(ErrorInfo("lost", "silence"))


@pytest.fixture(params=["fake", "mongodb"])
async def world(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, mongo_url) as world:
        yield world


async def test_success_is_recorded_and_the_job_follows(world: World) -> None:
    job = await world.started(payload=1)
    await world.end(job, Succeeded({"n": 1}, {"status": 200}))
    (record,) = await world.store.executions(job.id)
    assert (record.outcome, record.result, record.report) == (
        Outcome.SUCCEEDED, {"n": 1}, {"status": 200},
    )  # fmt: skip
    after = await world.job(job.id)
    assert after.state is State.SUCCEEDED
    assert after.finished_at is not None


async def test_the_first_record_of_an_attempt_stands_whoever_comes_second(world: World) -> None:
    """The reaper inserts `lost`; the worker that was paused offers `succeeded` (H2)."""
    job = await world.started()
    lost = conclude(job, GONE, finished_at=world.now, lot=0)
    late = conclude(job, Succeeded(), finished_at=world.now, lot=0)
    assert [r.outcome for r in await world.store.record([lost])] == [Outcome.LOST]
    (stands,) = await world.store.record([late])
    assert stands.outcome is Outcome.LOST
    await world.store.settle([stands])
    assert await world.state(job.id) is State.PENDING


async def test_a_result_that_came_late_is_noted_beside_the_record_that_stands(
    world: World,
) -> None:
    job = await world.started()
    lost = conclude(job, GONE, finished_at=world.now, lot=0)
    late = conclude(job, Succeeded("too late"), finished_at=world.now, lot=0)
    later = conclude(job, BOOM, finished_at=world.now, lot=0)
    for record in (lost, lost, late, later):
        (stands,) = await world.store.record([record])
        assert (stands.outcome, stands.result) == (Outcome.LOST, None)
    (record,) = await world.store.executions(job.id)
    at = late.finished_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert record.report == {"late": {"outcome": "succeeded", "finished_at": at}}
    assert record.outcome is Outcome.LOST


async def test_a_result_that_is_recorded_twice_is_not_late(world: World) -> None:
    """The reply to the first insert was lost; and the reaper comes after the worker."""
    job = await world.started()
    mine = conclude(job, Succeeded(), finished_at=world.now, lot=0)
    lost = conclude(job, GONE, finished_at=world.now, lot=0)
    for record in (mine, mine, lost):
        await world.store.record([record])
    (record,) = await world.store.executions(job.id)
    assert (record.outcome, record.report) == (Outcome.SUCCEEDED, {})


async def test_a_record_offered_twice_by_its_writer_stands_once(world: World) -> None:
    job, other = await world.started("l1"), await world.started("l2")
    records = [conclude(j, Succeeded(), finished_at=world.now, lot=0) for j in (job, other)]
    await world.store.record(records[:1])
    standing = await world.store.record(records)
    assert [(r.job_id, r.outcome) for r in standing] == [
        (job.id, Outcome.SUCCEEDED), (other.id, Outcome.SUCCEEDED),
    ]  # fmt: skip


async def test_settling_one_job_of_a_lease_leaves_the_other_alone(world: World) -> None:
    """H1: a, b and c share a lease; b was reaped. Settling the success of a and c, in one write,
    must not make b succeed."""
    submissions = [a_submission(at=world.now) for _ in range(3)]
    await world.store.insert(submissions, world.now)
    a, b, c = await world.store.start([s.id for s in submissions], a_claim(at=world.now))
    lost_b = conclude(b, GONE, finished_at=world.now, lot=0)
    await world.store.record([lost_b])
    mine = [conclude(j, Succeeded(), finished_at=world.now, lot=0) for j in (a, c, b)]
    await world.store.settle(await world.store.record(mine))
    assert await world.state(a.id) is State.SUCCEEDED
    assert await world.state(c.id) is State.SUCCEEDED
    assert await world.state(b.id) is State.PENDING


async def test_an_old_attempts_record_does_not_move_a_later_attempt(world: World) -> None:
    job = await world.started("l1")
    old = conclude(job, GONE, finished_at=world.now, lot=0)
    await world.end(job, GONE)
    await world.store.dispatch(timedelta(seconds=2), 10)
    world.clock.advance(1)
    again = await world.start(job.id, "l2")
    await world.store.settle([old])
    after = await world.job(job.id)
    assert (after.state, after.attempt, after.losses) == (State.RUNNING, again.attempt, 1)


async def test_a_failure_waits_its_delay_and_counts(world: World) -> None:
    job = await world.started(retry={"base": 40, "jitter": "none"})
    before = world.now
    await world.end(job, BOOM)
    after = await world.job(job.id)
    assert (after.state, after.failures, after.losses) == (State.PENDING, 1, 0)
    assert timedelta(seconds=39) < after.due_at - before < timedelta(seconds=60)


async def test_failures_with_different_delays_settle_in_one_call(world: World) -> None:
    jobs = [await world.started(f"l{n}", retry={"base": 10 * (n + 1)}) for n in range(3)]
    done = await world.started("l9")
    records = [conclude(job, BOOM, finished_at=world.now, lot=0.9) for job in jobs]
    records.append(conclude(done, Succeeded(), finished_at=world.now, lot=0))
    await world.store.settle(await world.store.record(records))
    after = [await world.job(job.id) for job in jobs]
    assert [job.failures for job in after] == [1, 1, 1]
    assert len({job.due_at.replace(microsecond=0) for job in after}) == 3
    assert await world.state(done.id) is State.SUCCEEDED


async def test_the_last_failure_is_death(world: World) -> None:
    job = await world.started(retry={"max_attempts": 1})
    await world.end(job, BOOM)
    after = await world.job(job.id)
    assert (after.state, after.reason, after.failures) == (State.DEAD, "exhausted", 1)


async def test_losses_and_releases_never_use_up_attempts(world: World) -> None:
    """H14, H23: both go to pending, due now; only three losses make poison."""
    job = await world.started(retry={"max_attempts": 1})
    await world.end(job, Released())
    for _ in range(2):
        job = await self_dispatched(world, job.id)
        await world.end(job, GONE)
        after = await world.job(job.id)
        assert (after.state, after.failures) == (State.PENDING, 0)
    job = await self_dispatched(world, job.id)
    await world.end(job, GONE)
    after = await world.job(job.id)
    assert (after.state, after.reason, after.attempt) == (State.DEAD, "poison", 4)


async def self_dispatched(world: World, job_id: str) -> Job:
    """The job, dispatched and started again."""
    world.clock.advance(2)
    await world.store.dispatch(timedelta(seconds=2), 10)
    return await world.start(job_id, an_id())
