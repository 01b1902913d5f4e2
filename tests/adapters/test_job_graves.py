"""Cancelled, redriven, buried: a job that has ended stays so, and its id is used once."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from pipeline.domain.execution import ErrorInfo, Failed, Succeeded, conclude
from pipeline.domain.identity import fingerprint
from pipeline.domain.states import State
from pipeline.ports import JobFilter, Place, Standing, Stored
from tests.builders import a_submission
from tests.store_world import World, a_world

BOOM = Failed(ErrorInfo("Boom", "it broke"))


@pytest.fixture(params=["fake", "mongodb"])
async def world(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, mongo_url) as world:
        yield world


async def test_a_waiting_job_is_cancelled_and_a_running_one_is_not_by_that(world: World) -> None:
    waiting, running = await world.queued(delay=60), await world.started()
    assert await world.store.cancel_waiting(waiting)
    assert not await world.store.cancel_waiting(running.id)
    assert await world.state(waiting) is State.CANCELLED


async def test_redrive_keeps_the_attempt_and_clears_the_counts(world: World) -> None:
    """H24: the attempt is the fence; reset, an old record would stand for a new attempt."""
    job = await world.started(retry={"max_attempts": 1})
    await world.end(job, BOOM)
    assert await world.store.redrive(job.id)
    after = await world.job(job.id)
    assert (after.state, after.attempt, after.failures, after.reason) == (
        State.PENDING, 1, 0, None,
    )  # fmt: skip
    assert not await world.store.redrive(job.id)


async def test_a_redriven_expired_job_does_not_expire_again(world: World) -> None:
    job_id = await world.queued(expires_at=(world.now + timedelta(seconds=5)).isoformat())
    world.clock.advance(6)
    await world.store.expire(10)
    assert await world.store.redrive(job_id)
    assert await world.store.expire(10) == []


async def test_a_buried_job_is_hidden_and_never_born_again(world: World) -> None:
    """H3: ingest inserted, died before the ack, the user deleted; the message comes again."""
    submission = a_submission(at=world.now, keyed=True)
    await world.store.insert([submission], world.now)
    job = await world.start(submission.id)
    assert not await world.store.bury(job.id)
    await world.end(job, Succeeded())
    assert await world.store.bury(job.id)
    assert await world.store.get(job.id) is None
    assert await world.store.executions(job.id) == []
    assert (await world.store.list(JobFilter(), 10, None)).jobs == []
    assert await world.store.insert([submission], world.now) == [Stored.DELETED]
    assert await world.store.get(job.id) is None


async def test_what_stands_under_a_key_is_told_of_the_buried_too(world: World) -> None:
    """Their ids are used: whoever submits under such a key must hear it (R2)."""
    waits, buried = (a_submission(at=world.now, keyed=True) for _ in range(2))
    unkeyed = await world.queued()
    await world.store.insert([waits, buried], world.now)
    assert await world.store.bury(buried.id)
    assert await world.store.standing([waits.id, buried.id, unkeyed, "unknown"]) == {
        waits.id: Standing(fingerprint(waits.body), State.QUEUED),
        buried.id: Standing(fingerprint(buried.body), State.BURIED),
    }


async def test_where_jobs_are_is_told_of_those_that_are_there(world: World) -> None:
    waits, cancelled = await world.queued(queue="eu"), await world.queued(queue="us")
    runs, buried = (await world.started()).id, await world.queued()
    assert await world.store.cancel_waiting(cancelled)
    assert await world.store.bury(buried)
    there = await world.store.places([waits, cancelled, runs, buried, "unknown"])
    assert sorted(there, key=lambda place: place.state) == [
        Place(cancelled, "us", State.CANCELLED),
        Place(waits, "eu", State.QUEUED),
        Place(runs, "default", State.RUNNING),
    ]
    assert await world.store.places([]) == []


async def test_tombstones_go_when_they_are_old(world: World) -> None:
    job_id = await world.queued()
    await world.store.bury(job_id)
    assert await world.store.sweep_buried(timedelta(hours=1), 10) == 0
    world.clock.advance(2 * 3600)
    assert await world.store.sweep_buried(timedelta(hours=1), 10) == 1
    assert await world.store.sweep_buried(timedelta(hours=1), 10) == 0


async def test_a_job_born_again_after_the_grave_meets_no_old_record(world: World) -> None:
    """H4: whoever buried the job died before its executions were gone. Left there when the
    tombstone goes, `j/1` would stand for the first attempt of the next job under this id."""
    job = await world.started()
    await world.end(job, Succeeded("old"))
    await world.store.bury(job.id)
    await world.store.record([conclude(job, Succeeded("old"), finished_at=world.now, lot=0.5)])
    world.clock.advance(2 * 3600)
    assert await world.store.sweep_buried(timedelta(hours=1), 10) == 1
    await world.store.insert([a_submission(id=job.id, at=world.now)], world.now)
    again = await world.start(job.id)
    (standing,) = await world.store.record(
        [conclude(again, Succeeded("new"), finished_at=world.now, lot=0.5)]
    )
    assert (standing.attempt, standing.result) == (1, "new")
