"""One suite for the truth, run on the fake and on MongoDB: from ingest to the end of an attempt."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain

import pytest

from pipeline.clock import StoreClock
from pipeline.domain.errors import UnknownOutcome
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
from pipeline.domain.limits import KeyLimit, Rate
from pipeline.domain.states import State
from pipeline.ports import Attempt, JobFilter, Stored
from pipeline.store.documents import UNREADABLE
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_claim, a_submission, an_id
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.job_store import FakeJobStore
from tests.store_world import World, a_world

BOOM = Failed(ErrorInfo("Boom", "it broke"))
GONE = Lost(ErrorInfo("lost", "silence"))


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


# -- end


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
