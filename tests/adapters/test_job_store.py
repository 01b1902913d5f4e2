"""One suite for the truth, run on the fake and on MongoDB: from ingest to the start."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain

import pytest

from pipeline.clock import StoreClock
from pipeline.domain.errors import UnknownOutcome
from pipeline.domain.execution import (
    Succeeded,
)
from pipeline.domain.limits import KeyLimit, Rate
from pipeline.domain.states import State
from pipeline.ports import Attempt, JobFilter, Stored
from pipeline.store.documents import UNREADABLE
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_claim, a_submission
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.job_store import FakeJobStore
from tests.store_world import World, a_world


@pytest.fixture(params=["fake", "mongodb"])
async def world(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, mongo_url) as world:
        yield world


# -- ingest


async def test_a_job_already_due_is_born_queued_and_another_pending(world: World) -> None:
    due, later = a_submission(at=world.now), a_submission(at=world.now, delay=60)
    assert await world.store.insert([due, later], world.now) == [Stored.NEW, Stored.NEW]
    assert await world.state(due.id) is State.QUEUED
    assert await world.state(later.id) is State.PENDING


async def test_a_redelivered_job_is_known_and_its_neighbours_are_new(world: World) -> None:
    old, fresh = a_submission(at=world.now), a_submission(at=world.now)
    await world.store.insert([old], world.now)
    assert await world.store.insert([old, fresh], world.now) == [Stored.KNOWN, Stored.NEW]


async def test_another_body_under_the_same_key_is_told_and_the_first_stands(world: World) -> None:
    """H26: only here, where the id is taken, can it be known of two that came at one moment."""
    first = a_submission(at=world.now, keyed=True, payload=1)
    same = a_submission(id=first.id, at=world.now, keyed=True, payload=1)
    other = a_submission(id=first.id, at=world.now, keyed=True, payload=2)
    await world.store.insert([first], world.now)
    assert await world.store.insert([same], world.now) == [Stored.KNOWN]
    assert await world.store.insert([other], world.now) == [Stored.OTHER]
    assert (await world.job(first.id)).body["payload"] == 1


async def test_the_key_of_a_deleted_job_is_told_and_brings_nothing_back(world: World) -> None:
    first = a_submission(at=world.now, keyed=True, payload=1)
    other = a_submission(id=first.id, at=world.now, keyed=True, payload=2)
    await world.store.insert([first], world.now)
    assert await world.store.bury(first.id)
    assert await world.store.insert([first], world.now) == [Stored.DELETED]
    assert await world.store.insert([other], world.now) == [Stored.OTHER]
    assert await world.store.get(first.id) is None


async def test_a_stored_job_reads_back_as_it_was_asked_for(world: World) -> None:
    submission = a_submission(
        at=world.now, name="n", queue="q", priority=9, tags=["eu"], payload={"a.b": [1, None]}
    )
    await world.store.insert([submission], world.now)
    job = await world.job(submission.id)
    assert (job.body, job.spec, job.queue) == (submission.body, submission.spec, "q")
    assert (job.attempt, job.failures, job.losses) == (0, 0, 0)


# -- dispatch and expiry


async def test_dispatch_moves_what_is_due_within_the_lookahead_and_nothing_else(
    world: World,
) -> None:
    soon = await world.queued(delay=1, priority=7)
    await world.queued(delay=60)
    entries = await world.store.dispatch(timedelta(seconds=2), 10)
    assert [(e.job_id, e.priority, e.queue) for e in entries] == [(soon, 7, "default")]
    assert await world.state(soon) is State.QUEUED
    assert await world.store.dispatch(timedelta(seconds=2), 10) == []


async def test_two_dispatchers_at_once_move_each_job_once(world: World) -> None:
    expected = {await world.queued(delay=1) for _ in range(50)}
    passes = await asyncio.gather(
        *(world.store.dispatch(timedelta(seconds=2), 100) for _ in range(4))
    )
    moved = [entry.job_id for entries in passes for entry in entries]
    assert sorted(moved) == sorted(expected)


async def test_what_waits_past_its_expiry_is_dead_without_an_execution(world: World) -> None:
    """H17: `expires_at` has an owner."""
    expires = (world.now + timedelta(seconds=5)).isoformat()
    queued, pending = (
        await world.queued(expires_at=expires),
        await world.queued(expires_at=expires, delay=3),
    )
    running = (await world.started(expires_at=expires)).id
    world.clock.advance(6)
    assert sorted(await world.store.expire(10)) == sorted([queued, pending])
    job = await world.job(queued)
    assert (job.state, job.reason, await world.store.executions(queued)) == (
        State.DEAD, "expired", [],
    )  # fmt: skip
    assert await world.state(running) is State.RUNNING


async def test_an_expired_job_is_not_started(world: World) -> None:
    job_id = await world.queued(expires_at=(world.now + timedelta(seconds=5)).isoformat())
    world.clock.advance(6)
    assert await world.store.start([job_id], a_claim(at=world.now)) == []


async def test_of_several_watchers_each_has_ended_what_it_says_and_no_other(world: World) -> None:
    """All find the same jobs before the first of them writes; the metric is the sum."""
    at = (world.now + timedelta(seconds=5)).isoformat()
    ids = [await world.queued(expires_at=at) for _ in range(5)]
    world.clock.advance(6)
    ended = await asyncio.gather(*(world.store.expire(10) for _ in range(4)))
    assert sorted(chain(*ended)) == sorted(ids)


async def test_what_is_dispatched_has_its_limit(world: World) -> None:
    limits = {"key": "customer-7", "concurrency": 2, "rate": {"count": 5}}
    await world.queued(limits=limits, delay=1)
    (entry,) = await world.store.dispatch(timedelta(seconds=10), 10)
    assert entry.limit == KeyLimit(key="customer-7", concurrency=2, rate=Rate(count=5))


# -- start


async def test_one_of_two_starts_wins(world: World) -> None:
    job_id = await world.queued()
    won = await asyncio.gather(
        *(world.store.start([job_id], a_claim(lease_id=f"l{n}", at=world.now)) for n in range(8))
    )
    (job,) = [job for jobs in won for job in jobs]
    assert (job.attempt, job.state) == (1, State.RUNNING)


async def test_a_start_repeated_under_its_lease_id_returns_what_it_won(world: World) -> None:
    """H5: the reply was lost; the repeat must neither lose the job nor count an attempt."""
    job_id = await world.queued()
    first = await world.store.start([job_id], a_claim(at=world.now))
    again = await world.store.start([job_id], a_claim(at=world.now))
    assert first == again
    assert again[0].attempt == 1


async def test_a_job_not_due_by_the_lease_scripts_clock_is_not_started(world: World) -> None:
    """H10: by that clock and by no other: MongoDB's own may be behind it, and then refuse."""
    job_id = await world.queued(delay=1)
    await world.store.dispatch(timedelta(seconds=2), 10)
    early = world.now + timedelta(milliseconds=999)
    assert await world.store.start([job_id], a_claim(at=early)) == []
    late = world.now + timedelta(milliseconds=1000)
    assert len(await world.store.start([job_id], a_claim(at=late))) == 1


async def test_the_old_queues_worker_cannot_start_a_job(world: World) -> None:
    """H27"""
    job_id = await world.queued(queue="new")
    assert await world.store.start([job_id], a_claim(queue="old", at=world.now)) == []


async def test_only_attempts_still_running_under_their_lease_are_running(world: World) -> None:
    runs, ended = await world.started("l1"), await world.started("l2")
    await world.end(ended, Succeeded())
    mine = Attempt(runs.id, 1, "l1")
    asked = [mine, Attempt(runs.id, 1, "other"), Attempt(ended.id, 1, "l2"), Attempt("x", 1, "l1")]
    assert await world.store.running(asked) == {mine}


# -- others


async def test_a_job_of_another_version_hurts_nobody_else(mongo_url: str) -> None:
    """A newer version stored a field that this one does not know; it is started in one batch."""
    clock = StoreClock()
    store = MongoJobStore(mongo_url, clock, SeededChance(1), timedelta(seconds=10))
    await store.prepare()
    theirs, ours = a_submission(at=clock.now()), a_submission(at=clock.now())
    theirs.body["of_a_later_version"] = True
    await store.insert([theirs, ours], clock.now() + timedelta(seconds=1))
    late = clock.now() + timedelta(seconds=1)
    won = await store.start([theirs.id, ours.id], a_claim(at=late))
    tasks = {job.id: getattr(job.spec.work, "task", None) for job in won}
    assert tasks == {theirs.id: UNREADABLE, ours.id: "echo"}
    assert len((await store.list(JobFilter(), 10, None)).jobs) == 2
    store.close()


async def test_the_fake_fails_as_told() -> None:
    store = FakeJobStore(ManualClock())
    store.fail("insert", applied=True)
    submission = a_submission()
    with pytest.raises(UnknownOutcome):
        await store.insert([submission], submission.accepted_at)
    assert replace(store.jobs[submission.id]).id == submission.id
