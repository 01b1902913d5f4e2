"""One suite for schedules, run on the fake and on MongoDB."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pymongo
import pytest

from pipeline.domain.execution import Cancelled, conclude
from pipeline.domain.firing import SkipReason
from pipeline.domain.schedule import LEAD, Schedule
from pipeline.domain.states import State
from pipeline.ports import JobStore, ScheduleStore, Skipped
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_claim
from tests.fakes.clock import START, ManualClock, SeededChance
from tests.fakes.job_store import FakeJobStore
from tests.fakes.schedule_store import FakeScheduleStore
from tests.schedules import a_schedule, a_skip, an_advance

MINUTE = timedelta(minutes=1)


@dataclass
class World:
    """Schedules and jobs, and the clock that they reckon by."""

    store: ScheduleStore
    jobs: JobStore
    clock: ManualClock

    async def stored(self, *, at: datetime = START, **body: Any) -> Schedule:
        schedule = a_schedule(at=at, **body)
        assert await self.store.insert_schedule(schedule)
        return schedule

    async def again(self, schedule: Schedule) -> Schedule:
        """As it stands."""
        found = await self.store.get_schedule(schedule.id)
        assert found is not None
        return found

    async def seen_at(self, instant: datetime) -> set[str]:
        return {each.id for each in await self.store.schedules_to_look_at(instant, 10)}

    async def fired(self, schedule: Schedule, fire_time: datetime) -> str:
        """The job of a fire time."""
        now = self.clock.now()
        submission = schedule.submission(fire_time, fire_time, 5, now)
        await self.jobs.insert([submission], now)
        return submission.id


@pytest.fixture
def fake_world() -> World:
    clock = ManualClock()
    jobs = FakeJobStore(clock)
    return World(FakeScheduleStore(jobs, clock), jobs, clock)


@pytest.fixture
async def mongodb_world(mongo_url: str) -> AsyncIterator[World]:
    clock = ManualClock()
    jobs = MongoJobStore(mongo_url, clock, SeededChance(1), timedelta(seconds=10))
    await jobs.prepare()
    yield World(jobs.schedules, jobs, clock)
    jobs.close()


@pytest.fixture(params=["fake_world", "mongodb_world"])
def world(request: pytest.FixtureRequest, mongo_url: str) -> World:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, World)
    return found


# -- owners


async def test_a_schedule_reads_back_as_it_was_asked_for(world: World) -> None:
    schedule = await world.stored(
        name="n", cron="H 9 * * 1-5", timezone="Europe/Berlin", job={"payload": {"a.b": [1, None]}}
    )
    assert await world.store.get_schedule(schedule.id) == schedule
    assert await world.store.get_schedule("unknown") is None


async def test_an_id_is_used_once(world: World) -> None:
    schedule = await world.stored(name="first")
    assert not await world.store.insert_schedule(a_schedule(id=schedule.id, name="second"))
    assert (await world.again(schedule)).spec.name == "first"


async def test_an_owner_replaces_only_what_he_has_read(world: World) -> None:
    before = await world.stored()
    after = replace(before, version=2, body={"every": 60, "name": "new"})
    assert await world.store.replace_schedule(before, after)
    assert not await world.store.replace_schedule(before, replace(before, version=2))
    assert (await world.again(before)).body["name"] == "new"


async def test_a_replacement_loses_to_a_fire_in_between(world: World) -> None:
    """Else it would set `next_fire_at` back over a fire time that is used."""
    before = await world.stored()
    await world.store.advance([an_advance(before)], START)
    assert not await world.store.replace_schedule(before, replace(before, version=2))


async def test_a_replacement_loses_to_a_fire_that_was_held_in_between(world: World) -> None:
    """Else what waits for a run to end would look as if nobody had been watching."""
    before = await world.stored(overlap="queue")
    await world.store.advance([an_advance(before, is_held=True)], START)
    assert not await world.store.replace_schedule(before, replace(before, version=2))


async def test_a_deleted_schedule_is_gone_with_its_skips_and_without_its_jobs(
    world: World,
) -> None:
    schedule = await world.stored()
    job_id = await world.fired(schedule, START + MINUTE)
    await world.store.advance([an_advance(schedule, a_skip(START))], START)
    assert await world.store.delete_schedule(schedule)
    assert await world.store.get_schedule(schedule.id) is None
    assert await world.store.skipped(schedule.id, 10, None) == []
    assert await world.store.next_look_at() is None
    assert await world.jobs.get(job_id) is not None


async def test_a_deletion_names_the_version_and_may_be_repeated(world: World) -> None:
    schedule = await world.stored()
    await world.store.replace_schedule(schedule, replace(schedule, version=2))
    assert not await world.store.delete_schedule(schedule)
    current = await world.again(schedule)
    assert await world.store.delete_schedule(current)
    assert await world.store.delete_schedule(current)


async def test_a_list_is_newest_first_and_its_pages_do_not_overlap(world: World) -> None:
    ids = [
        (await world.stored(at=START + timedelta(milliseconds=number // 2))).id
        for number in range(7)
    ]
    first = await world.store.list_schedules(4, None)
    await world.stored(at=START + MINUTE)
    second = await world.store.list_schedules(4, first.next_after)
    assert [each.id for each in (*first.schedules, *second.schedules)] == ids[::-1]
    assert second.next_after is None


async def test_a_list_can_be_searched_by_the_start_of_the_name(world: World) -> None:
    nightly = await world.stored(name="nightly-report")
    await world.stored(name="hourly-report")
    await world.stored()
    for q, expected in (("night", [nightly.id]), (".*", []), ("report", [])):
        page = await world.store.list_schedules(10, None, q)
        assert [each.id for each in page.schedules] == expected


async def test_the_start_of_a_name_may_be_followed_by_any_character_there_is(world: World) -> None:
    """Up to the last one of all, after which no other can bound the search."""
    names = ["a", "a\U0010ffff", "a\U0010ffffb", "a\U0010ffff\U0010ffff", "ab", "b", "\U0010ffff"]
    for name in names:
        await world.stored(name=name)
    for q in ("a", "a\U0010ffff", "\U0010ffff"):
        page = await world.store.list_schedules(10, None, q)
        found = sorted(each.spec.name or "" for each in page.schedules)
        assert found == sorted(name for name in names if name.startswith(q))


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


# -- MongoDB alone


async def test_a_schedule_of_another_version_hurts_nobody_else(
    mongodb_world: World, mongo_url: str
) -> None:
    """It is seen as it was written, never fires here, and its neighbours are in time."""
    theirs = [await mongodb_world.stored() for _ in range(30)]
    ours = await mongodb_world.stored(at=START + MINUTE)
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
        client.get_default_database().schedules.update_many(
            {"_id": {"$ne": ours.id}}, {"$set": {"spec.of_a_later_version": True}}
        )
    for limit in (5, 50):
        found = await mongodb_world.store.schedules_to_look_at(START + 9 * MINUTE, limit)
        assert found == [ours]
    assert await mongodb_world.store.next_look_at() == ours.look_at
    shown = await mongodb_world.again(theirs[0])
    assert (shown.body["of_a_later_version"], shown.look_at) == (True, None)
    assert len((await mongodb_world.store.list_schedules(50, None)).schedules) == 31
