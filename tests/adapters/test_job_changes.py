"""What owners write about jobs, one and many: fake and MongoDB."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.domain.execution import ErrorInfo, Failed, Succeeded
from pipeline.domain.job import Job
from pipeline.domain.job_change import changed
from pipeline.domain.states import State
from pipeline.ports import JobFilter, Stored
from tests.builders import a_submission
from tests.store_world import World, a_world

BOOM = Failed(ErrorInfo("Boom", "it broke"))
FATAL = Failed(ErrorInfo("Boom", "it broke"), retryable=False)
LOOKAHEAD = timedelta(seconds=2)
EVERYTHING = JobFilter()


@pytest.fixture(params=["fake", "mongodb"])
async def world(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, mongo_url) as world:
        yield world


async def patched(world: World, before: Job, **patch: object) -> bool:
    """A change of what was read."""
    return await world.store.change(before, changed(before, patch, world.now))


# -- change


@pytest.mark.parametrize("delay", [0, 60])
async def test_a_change_is_what_the_job_asks_for_from_then_on(world: World, delay: float) -> None:
    job_id = await world.queued(delay=delay, payload={"a": 1, "$b": {"c.d": None}}, tags=["x"])
    before = await world.job(job_id)
    change = {"queue": "eu", "priority": 9, "payload": {"$new": 2.5}, "tags": None, "name": "n"}
    assert await patched(world, before, **change)
    after = await world.job(job_id)
    assert (after.state, after.queue, after.spec.priority) == (State.PENDING, "eu", 9)
    assert after.body["payload"] == {"a": 1, "$b": {"c.d": None}, "$new": 2.5}
    assert (after.spec.tags, after.spec.name) == ((), "n")
    assert (after.due_at, after.created_at) == (before.due_at, before.created_at)
    assert "eu" in await world.store.active_queues()


async def test_a_new_due_time_and_expiry_are_gone_by(world: World) -> None:
    job_id = await world.queued(delay=3600)
    expires = (world.now + timedelta(seconds=30)).isoformat()
    assert await patched(world, await world.job(job_id), delay=1, expires_at=expires)
    (entry,) = await world.store.dispatch(LOOKAHEAD, 10)
    assert (entry.job_id, entry.due_at) == (job_id, (await world.job(job_id)).due_at)
    world.clock.advance(31)
    assert await world.store.expire(10) == [job_id]


async def test_a_change_that_takes_the_expiry_away_keeps_the_job(world: World) -> None:
    expires = (world.now + timedelta(seconds=30)).isoformat()
    job_id = await world.queued(delay=3600, expires_at=expires)
    assert await patched(world, await world.job(job_id), expires_at=None)
    world.clock.advance(31)
    assert await world.store.expire(10) == []


@pytest.mark.parametrize("between", ["dispatch", "start", "cancel", "change", "hasten", "bury"])
async def test_a_change_of_what_stands_no_more_is_not_made(world: World, between: str) -> None:
    """Else it would take back what came between, and somebody was told that that had happened."""
    job_id = await world.queued(delay=1)
    before = await world.job(job_id)
    match between:
        case "dispatch":
            await world.store.dispatch(LOOKAHEAD, 10)
        case "start":
            await world.store.dispatch(LOOKAHEAD, 10)
            world.clock.advance(2)
            await world.start(job_id)
        case "cancel":
            await world.store.cancel_waiting(job_id)
        case "change":
            assert await patched(world, before, name="first")
        case "hasten":
            assert await world.store.hasten(job_id)
        case "bury":
            await world.store.bury(job_id)
    stands = await world.store.get(job_id)
    assert not await patched(world, before, name="second")
    assert await world.store.get(job_id) == stands


async def test_a_change_of_an_earlier_attempt_is_not_made(world: World) -> None:
    """Failed and to be retried at once it waits again, asking for the same: only attempt and due
    time tell that it is not what was read."""
    job_id = await world.queued(retry={"base": 0})
    before = await world.job(job_id)
    await world.end(await world.start(job_id), BOOM)
    assert not await patched(world, replace(before, state=State.PENDING), name="late")


# -- hasten


async def test_a_job_that_waits_is_due_now(world: World) -> None:
    job_id = await world.queued(delay=3600)
    assert await world.store.hasten(job_id)
    job = await world.job(job_id)
    assert job.state is State.PENDING
    assert abs(job.due_at - world.now) < timedelta(seconds=30)
    assert not await world.store.hasten(job_id)


async def test_a_queued_job_of_the_lookahead_is_dispatched_anew(world: World) -> None:
    job_id = await world.queued(delay=1)
    await world.store.dispatch(timedelta(seconds=2), 10)
    world.clock.advance(0.001)
    if await world.store.hasten(job_id):  # unless MongoDB's own clock says that it is due already
        assert await world.state(job_id) is State.PENDING


async def test_what_is_due_or_over_is_not_hastened(world: World) -> None:
    assert not await world.store.hasten(await world.queued())
    assert not await world.store.hasten((await world.started()).id)
    assert not await world.store.hasten("no-such-job")


# -- many


async def test_many_are_cancelled_if_they_wait_and_are_still_what_was_asked_for(
    world: World,
) -> None:
    here, moved = await world.queued(queue="eu"), await world.queued(queue="eu")
    running = (await world.started(queue="default")).id
    assert await patched(world, await world.job(moved), queue="us")
    ids = [here, moved, running, "no-such-job"]
    assert await world.store.cancel_waiting_many(ids, JobFilter(queue="eu")) == 1
    assert await world.state(here) is State.CANCELLED
    assert await world.state(moved) is State.PENDING
    assert await world.store.cancel_waiting_many([running], EVERYTHING) == 0
    assert await world.store.cancel_waiting_many([moved], JobFilter(name="other")) == 0
    only = JobFilter(states=frozenset({State.QUEUED}))
    assert await world.store.cancel_waiting_many([moved], only) == 0
    assert (await world.job(here)).finished_at is not None


async def test_many_are_redriven(world: World) -> None:
    dead = (await world.started()).id
    await world.end(await world.job(dead), FATAL)
    cancelled, waiting = await world.queued(), await world.queued()
    await world.store.cancel_waiting(cancelled)
    assert await world.store.redrive_many([dead, cancelled, waiting], EVERYTHING) == 2
    job = await world.job(dead)
    assert (job.state, job.failures, job.reason, job.attempt) == (State.PENDING, 0, None, 1)
    assert await world.store.redrive_many([dead, cancelled], EVERYTHING) == 0


async def test_many_are_buried_with_their_executions(world: World) -> None:
    ended, running = await world.started(), await world.started()
    await world.end(ended, Succeeded())
    waiting = await world.queued()
    assert await world.store.bury_many([ended.id, running.id, waiting], EVERYTHING) == 2
    assert list(await world.store.get_many([ended.id, running.id, waiting])) == [running.id]
    assert await world.store.executions(ended.id) == []
    again = a_submission(id=waiting, at=world.now)
    assert await world.store.insert([again], world.now) == [Stored.KNOWN]


async def test_a_job_of_many_attempts_is_buried_with_all_of_them(world: World) -> None:
    job_id = await world.queued(retry={"max_attempts": 100, "base": 0, "jitter": "none"})
    for number in range(25):
        world.clock.advance(5)
        await world.store.dispatch(LOOKAHEAD, 10)
        await world.end(await world.start(job_id, f"lease-{number}"), BOOM)
    assert len(await world.store.executions(job_id)) == 25
    some = await world.store.executions(job_id, after=8, limit=4)
    assert [execution.attempt for execution in some] == [9, 10, 11, 12]
    assert await world.store.executions(job_id, after=24, limit=0) == []
    assert await world.store.bury_many([job_id], EVERYTHING) == 1
    assert await world.store.executions(job_id) == []


# -- what was read, and nothing else


@pytest.mark.parametrize("write", ["cancel_waiting", "hasten", "bury"])
async def test_a_write_for_what_was_read_leaves_alone_what_has_changed(
    world: World, write: str
) -> None:
    job_id = await world.queued(delay=3600, payload={"a": [1, None]})
    read = await world.job(job_id)
    assert await patched(world, read, priority=9)
    assert not await getattr(world.store, write)(job_id, read)
    stands = await world.job(job_id)
    assert (stands.state, stands.spec.priority, stands.due_at) == (State.PENDING, 9, read.due_at)
    assert await getattr(world.store, write)(job_id, stands)


async def test_a_redrive_of_what_was_read_is_made_once(world: World) -> None:
    job_id = await world.queued(delay=3600)
    assert await world.store.cancel_waiting(job_id)
    read = await world.job(job_id)
    assert await world.store.redrive(job_id, read)
    assert await world.store.cancel_waiting(job_id)  # cancelled again, but due at another time
    assert not await world.store.redrive(job_id, read)
    assert await world.store.redrive(job_id, await world.job(job_id))
