"""Schedules as watchers see them, one suite on the fake and on MongoDB."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.domain.execution import Cancelled, conclude
from pipeline.domain.firing import SkipReason
from pipeline.domain.schedule import LEAD
from pipeline.domain.states import State
from pipeline.ports import Skipped
from tests.builders import a_claim
from tests.fakes.clock import START
from tests.schedule_store_world import World, a_world
from tests.schedules import a_skip, an_advance

MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["fake", "mongodb"])
async def world(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, mongo_url) as world:
        yield world


# -- what is to be looked at


async def test_runs_that_may_overlap_are_looked_at_ahead_and_others_in_their_time(
    world: World,
) -> None:
    ahead = await world.stored()
    in_time = await world.stored(overlap="skip")
    fires = START + MINUTE
    assert await world.seen_at(fires - LEAD - timedelta(milliseconds=1)) == set()
    assert await world.seen_at(fires - LEAD) == {ahead.id}
    assert await world.seen_at(fires) == {ahead.id, in_time.id}
    assert await world.store.next_look_at() == fires - LEAD


async def test_nobody_looks_at_what_is_paused_or_over(world: World) -> None:
    await world.stored(paused=True)
    await world.stored(end_at=(START + timedelta(seconds=30)).isoformat())
    assert await world.seen_at(START + 100 * MINUTE) == set()
    assert await world.store.next_look_at() is None


async def test_a_look_is_bounded_and_every_schedule_has_its_turn(world: World) -> None:
    for _ in range(25):
        await world.stored()
    passes = 0
    while page := await world.store.schedules_to_look_at(START + MINUTE, 10):
        await world.store.advance([an_advance(each) for each in page], START)
        passes += 1
    assert passes == 3


async def test_the_oldest_come_first_when_there_are_many(world: World) -> None:
    later = [await world.stored(at=START + 2 * MINUTE) for _ in range(10)]
    first = [await world.stored() for _ in range(10)]
    page = await world.store.schedules_to_look_at(START + 9 * MINUTE, 2)
    assert {each.id for each in page} < {each.id for each in first}
    assert len(page) == 2 < len(later)


async def test_what_this_process_cannot_handle_is_out_of_its_sight_for_a_minute(
    world: World,
) -> None:
    broken, other = await world.stored(), await world.stored(at=START + MINUTE)
    world.store.pass_over([broken.id])
    assert await world.seen_at(START + 9 * MINUTE) == {other.id}
    assert await world.store.next_look_at() == other.look_at
    world.clock.advance(61)
    assert await world.seen_at(START + 9 * MINUTE) == {broken.id, other.id}


# -- advancing


async def test_an_advanced_schedule_stands_as_it_was_planned(world: World) -> None:
    schedule = await world.stored()
    await world.store.advance([an_advance(schedule)], START)
    after = await world.again(schedule)
    assert (after.next_fire_at, after.fired_until) == (START + 2 * MINUTE, START + MINUTE)
    assert after.version == schedule.version
    assert await world.store.next_look_at() == START + 2 * MINUTE - LEAD


async def test_an_advance_loses_to_an_owner_and_spares_its_neighbours(world: World) -> None:
    """R13: a PATCH between the read and the write. What the owner wrote stands."""
    mine, other = await world.stored(), await world.stored()
    patched = replace(mine, version=2, next_fire_at=START + 30 * MINUTE)
    assert await world.store.replace_schedule(mine, patched)
    await world.store.advance([an_advance(mine), an_advance(other)], START)
    assert await world.again(mine) == patched
    assert (await world.again(other)).fired_until == START + MINUTE


async def test_an_advance_loses_to_another_watchers(world: World) -> None:
    schedule = await world.stored()
    await world.store.advance([an_advance(schedule)], START)
    current = await world.again(schedule)
    await world.store.advance([an_advance(current)], START)
    await world.store.advance([an_advance(schedule)], START)
    assert (await world.again(schedule)).next_fire_at == START + 3 * MINUTE


async def test_an_advance_of_a_deleted_schedule_brings_nothing_back(world: World) -> None:
    schedule = await world.stored()
    await world.store.delete_schedule(schedule)
    await world.store.advance([an_advance(schedule)], START)
    assert await world.store.get_schedule(schedule.id) is None


async def test_a_held_schedule_is_looked_at_again_when_asked_for(world: World) -> None:
    schedule = await world.stored(overlap="queue")
    again_at = START + MINUTE + timedelta(milliseconds=500)
    await world.store.advance([an_advance(schedule, is_held=True)], again_at)
    after = await world.again(schedule)
    assert (after.is_held, after.next_fire_at) == (True, schedule.next_fire_at)
    assert await world.store.next_look_at() == again_at
    await world.store.advance([an_advance(after)], again_at)
    assert not (await world.again(schedule)).is_held


async def test_a_schedule_that_has_fired_for_the_last_time_is_looked_at_no_more(
    world: World,
) -> None:
    schedule = await world.stored(end_at=(START + MINUTE).isoformat())
    await world.store.advance([an_advance(schedule)], START)
    assert (await world.again(schedule)).next_fire_at is None
    assert await world.store.next_look_at() is None


async def test_any_number_of_advances_at_once_move_a_schedule_on_by_one(world: World) -> None:
    schedule = await world.stored()
    advances = [world.store.advance([an_advance(schedule)], START) for _ in range(8)]
    await asyncio.gather(*advances)
    assert (await world.again(schedule)).next_fire_at == START + 2 * MINUTE


# -- what was skipped


async def test_what_is_skipped_is_written_down_once_newest_first(world: World) -> None:
    schedule = await world.stored()
    skips = [a_skip(START + number * MINUTE, reason="overlap") for number in range(5)]
    for _ in range(2):  # the second time as after a crash before the schedule moved on
        await world.store.advance([an_advance(schedule, *skips)], START)
    first = await world.store.skipped(schedule.id, 3, None)
    second = await world.store.skipped(schedule.id, 3, first[-1].first)
    assert [each.first for each in (*first, *second)] == [
        START + number * MINUTE for number in (4, 3, 2, 1, 0)
    ]
    assert first[0] == Skipped(
        schedule.id, skips[4].first, skips[4].last, SkipReason.OVERLAP, world.clock.now()
    )


async def test_a_span_that_began_in_an_earlier_try_reaches_as_far_as_either(world: World) -> None:
    """A watcher wrote down an hour and died before the schedule moved on; the next one, a day
    later, finds that day missed. What lies behind the hour must not be lost."""
    schedule = await world.stored()
    for seconds in (3600, 86_400, 60):
        await world.store.advance([an_advance(schedule, a_skip(START, seconds))], START)
    (written,) = await world.store.skipped(schedule.id, 10, None)
    assert written.last == START + timedelta(days=1)


async def test_a_fire_time_that_has_a_job_was_not_skipped(world: World) -> None:
    """Two watchers looked at different moments and decided differently; one made the job."""
    schedule = await world.stored()
    skips = [a_skip(START + number * MINUTE) for number in range(4)]
    await world.store.advance([an_advance(schedule, *skips)], START)
    kept = await world.fired(schedule, skips[2].first)
    buried = await world.fired(schedule, skips[3].first)
    assert await world.jobs.bury(buried)
    written = await world.store.skipped(schedule.id, 1, None)
    assert [each.first for each in written] == [skips[1].first]
    assert await world.jobs.get(kept) is not None


async def test_its_jobs_are_listed_by_fire_time_whenever_they_were_made(world: World) -> None:
    schedule, other = await world.stored(every=60), await world.stored(every=60)
    times = [START + number * MINUTE for number in (2, 4, 1, 3)]
    jobs = {at: await world.fired(schedule, at) for at in times}
    await world.fired(other, START)
    assert await world.jobs.cancel_waiting(jobs[START + MINUTE])
    assert await world.jobs.bury(jobs[START + 2 * MINUTE])
    runs = await world.store.runs(schedule.id, 10, None)
    assert [(job.fire_time, job.id) for job in runs] == [
        (at, jobs[at]) for at in (START + 4 * MINUTE, START + 3 * MINUTE, START + MINUTE)
    ]
    assert await world.store.runs(schedule.id, 1, None) == runs[:1]
    assert await world.store.runs(schedule.id, 10, START + 4 * MINUTE) == runs[1:]


# -- runs that have not ended


async def test_unfinished_runs_are_those_of_earlier_fire_times_oldest_first(world: World) -> None:
    """H8: a job of the fire time itself is our own, or that of a watcher beside us."""
    schedule, other = await world.stored(), await world.stored()
    times = [START + number * MINUTE for number in range(4)]
    jobs = [await world.fired(schedule, at) for at in times]
    theirs = await world.fired(other, START)
    before = {schedule.id: times[2], other.id: START}
    assert await world.store.unfinished_runs(before) == {schedule.id: jobs[:2]}
    assert theirs not in jobs
    assert await world.store.unfinished_runs({}) == {}


async def test_a_run_is_unfinished_until_its_job_is_final(world: World) -> None:
    schedule = await world.stored()
    before = {schedule.id: START + MINUTE}
    job_id = await world.fired(schedule, START)
    (job,) = await world.jobs.start([job_id], a_claim(at=world.clock.now()))
    assert await world.store.unfinished_runs(before) == {schedule.id: [job_id]}
    record = conclude(job, Cancelled(), finished_at=world.clock.now(), lot=0.5)
    await world.jobs.settle(await world.jobs.record([record]))
    settled = await world.jobs.get(job_id)
    assert settled is not None
    assert settled.state is State.CANCELLED
    assert await world.store.unfinished_runs(before) == {}
