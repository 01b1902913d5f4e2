"""One fire time, one job: whoever crashes, however many watchers look, whatever owners do."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from pipeline.domain.errors import UnknownOutcome
from pipeline.domain.firing import SkipReason
from pipeline.domain.schedule import LEAD
from pipeline.domain.states import State
from pipeline.ports import Stored
from tests.fakes.clock import START
from tests.fakes.interposed import Died, die
from tests.schedule_world import World, watching

pytestmark = pytest.mark.unit

MINUTE = timedelta(minutes=1)
EVERY_METHOD = [
    ("schedules", "next_look_at"),
    ("schedules", "schedules_to_look_at"),
    ("schedules", "unfinished_runs"),
    ("jobs", "insert"),
    ("queue", "add"),
    ("schedules", "advance"),
]


@pytest.fixture
def world() -> World:
    return World()


# -- crashes


@pytest.mark.parametrize("overlap", ["allow", "skip", "queue", "replace"])
@pytest.mark.parametrize(("port", "method"), EVERY_METHOD)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_crash_at_any_point_loses_no_fire_and_doubles_none(
    world: World, port: str, method: str, moment: str, overlap: str
) -> None:
    schedule = await world.scheduled(overlap=overlap, misfire="all")
    for minute in range(1, 6):
        doomed = world.interposed(port, method, **{moment: die})
        try:
            await world.at(START + minute * MINUTE, doomed)
        except Died:
            await world.scheduler().step()
        await world.end_runs()
    assert world.runs(schedule) == [START + minute * MINUTE for minute in range(1, 6)]
    assert await world.skips(schedule) == {}
    assert (await world.again(schedule)).next_fire_at == START + 6 * MINUTE


async def test_the_job_comes_first_and_the_schedule_moves_on_second(world: World) -> None:
    """R13. The other way round a crash in between loses the fire."""
    schedule = await world.scheduled()
    with pytest.raises(Died):
        await world.at(START + MINUTE, world.interposed("schedules", "advance", before=die))
    assert world.runs(schedule) == [START + MINUTE]
    assert (await world.again(schedule)).next_fire_at == START + MINUTE


async def test_a_fire_whose_watcher_died_and_that_is_a_misfire_by_now_has_one_fate(
    world: World,
) -> None:
    """The job was stored, the schedule did not move on; an hour later the next watcher takes the
    fire for missed and writes a skip. Its job stands, and what is read says so."""
    schedule = await world.scheduled(misfire="skip")
    with pytest.raises(Died):
        await world.at(START + MINUTE, world.interposed("schedules", "advance", before=die))
    await world.at(START + 2.5 * MINUTE)
    assert world.runs(schedule) == [START + MINUTE]
    assert await world.skips(schedule) == {START + 2 * MINUTE: SkipReason.MISFIRE}


async def test_a_run_of_a_watcher_that_died_before_it_moved_on_is_a_run_that_goes_on(
    world: World,
) -> None:
    """Its fire time is not decided on yet, and still no other run may start beside it."""
    schedule = await world.scheduled(overlap="skip", misfire="skip")
    with pytest.raises(Died):
        await world.at(START + MINUTE, world.interposed("schedules", "advance", before=die))
    await world.at(START + 2 * MINUTE)
    assert world.runs(schedule) == [START + MINUTE]
    assert await world.skips(schedule) == {START + 2 * MINUTE: SkipReason.OVERLAP}


@pytest.mark.parametrize("applied", [True, False])
async def test_an_advance_of_unknown_outcome_is_done_again(world: World, applied: bool) -> None:
    schedule = await world.scheduled(misfire="skip")
    world.schedules.fail_next("advance", UnknownOutcome, applied=applied)
    with pytest.raises(UnknownOutcome):
        await world.at(START + 1.5 * MINUTE)
    await world.scheduler().step()
    assert await world.skips(schedule) == {START + MINUTE: SkipReason.MISFIRE}
    assert (await world.again(schedule)).next_fire_at == START + 2 * MINUTE


async def test_without_redis_the_job_is_stored_and_the_schedule_moves_on(world: World) -> None:
    schedule = await world.scheduled(overlap="skip")
    world.queue.go_down()
    await world.at(START + MINUTE)
    assert world.run_of(schedule, START + MINUTE).state is State.QUEUED
    assert (await world.again(schedule)).next_fire_at == START + 2 * MINUTE


# -- several watchers


@pytest.mark.parametrize("overlap", ["allow", "skip", "queue", "replace"])
@pytest.mark.parametrize(("port", "method"), EVERY_METHOD)
async def test_r13_two_watchers_make_one_job_wherever_the_second_comes_in(
    world: World, port: str, method: str, overlap: str
) -> None:
    schedule = await world.scheduled(overlap=overlap)
    other = world.scheduler()
    for minute in range(1, 5):
        for moment in ("before", "after"):
            slow = world.interposed(port, method, **{moment: other.step})
            await world.at(START + minute * MINUTE, slow)
        await world.end_runs()
    assert world.runs(schedule) == [START + minute * MINUTE for minute in range(1, 5)]
    assert {job.state for job in world.store.jobs.values()} == {State.SUCCEEDED}
    assert await world.skips(schedule) == {}


async def test_h8_a_slow_watcher_does_not_take_the_new_run_for_the_one_to_replace(
    world: World,
) -> None:
    """A inserts job(T); slow B, which has read the schedule before that, must not cancel job(T) as
    the previous run: its own insert would be a duplicate and the fire would be lost."""
    schedule = await world.scheduled(overlap="replace")
    await world.at(START + MINUTE)
    fast = world.interposed("schedules", "advance", before=die)

    async def until_it_has_inserted() -> None:
        with pytest.raises(Died):
            await fast.step()

    slow = world.interposed("schedules", "unfinished_runs", before=until_it_has_inserted)
    await world.at(START + 2 * MINUTE, slow)
    assert world.run_of(schedule, START + MINUTE).state is State.CANCELLED
    assert world.run_of(schedule, START + 2 * MINUTE).state is State.QUEUED


async def test_a_crowd_of_watchers_makes_each_job_once(world: World) -> None:
    overlaps = ["allow", "skip", "queue", "replace"]
    schedules = [await world.scheduled(overlap=each, every=7) for each in overlaps * 5]
    async with watching(world, watchers=5):
        for _ in range(100):
            await world.clock.run(0.7)
            await world.end_runs()
    for schedule in schedules:
        skipped = await world.skips(schedule)
        expected = [START + timedelta(seconds=7 * number) for number in range(1, 10)]
        runs = [at for at in world.runs(schedule) if at < world.now]
        assert sorted([*runs, *skipped]) == expected
        assert not skipped


async def test_a_patch_in_between_stands_and_no_fire_time_is_used_again(world: World) -> None:
    schedule = await world.scheduled()

    async def patch() -> None:
        before = await world.again(schedule)
        after = replace(before, spec=before.spec.model_copy(update={"every": 90.0}), version=2)
        after = replace(after, next_fire_at=after.next_after(world.now))
        assert await world.schedules.replace_schedule(before, after)

    await world.at(START + MINUTE, world.interposed("schedules", "advance", before=patch))
    after = await world.again(schedule)
    assert (after.version, after.next_fire_at) == (2, START + 1.5 * MINUTE)
    await world.at(START + 1.5 * MINUTE)
    assert world.runs(schedule) == [START + MINUTE, START + 1.5 * MINUTE]


async def test_a_deletion_in_between_brings_nothing_back(world: World) -> None:
    schedule = await world.scheduled()

    async def delete() -> None:
        assert await world.schedules.delete_schedule(await world.again(schedule))

    await world.at(START + MINUTE, world.interposed("schedules", "advance", before=delete))
    assert await world.schedules.get_schedule(schedule.id) is None
    assert await world.schedules.next_look_at() is None


@pytest.mark.parametrize("method", ["schedules_to_look_at", "unfinished_runs"])
async def test_r13_a_watcher_that_was_held_up_reads_again_before_it_acts(
    world: World, method: str
) -> None:
    """In that minute the owner has paused the schedule; what we read says that it fires."""
    schedule = await world.scheduled(overlap="replace")

    async def held_up() -> None:
        before = await world.again(schedule)
        paused = before.spec.model_copy(update={"paused": True})
        assert await world.schedules.replace_schedule(
            before, replace(before, spec=paused, version=2)
        )
        world.clock.advance(61)

    slow = world.interposed("schedules", method, after=held_up)
    await world.at(START + MINUTE, slow)
    await slow.step()
    assert world.runs(schedule) == []


# -- neighbours


async def test_a_job_that_mongodb_refuses_spares_its_neighbours(world: World) -> None:
    bad, good = await world.scheduled(), await world.scheduled()

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        async def insert(self, submissions: Sequence[Any], now: datetime) -> Sequence[Stored]:
            fit = [each for each in submissions if each.schedule_id != bad.id]
            verdicts = iter(await world.store.insert(fit, now))
            return [
                Stored.REFUSED if each.schedule_id == bad.id else next(verdicts)
                for each in submissions
            ]

    refusing: Any = Refusing()
    await world.at(START + MINUTE, world.scheduler(jobs=refusing))
    assert world.runs(good) == [START + MINUTE]
    assert await world.skips(bad) == {START + MINUTE: SkipReason.REFUSED}
    assert (await world.again(bad)).next_fire_at == START + 2 * MINUTE


async def test_a_schedule_that_cannot_be_reckoned_with_spares_its_neighbours(
    world: World,
) -> None:
    """Its zone is in the time zone data of the host that took it, and not in ours."""
    broken, good = await world.scheduled(), await world.scheduled()
    nowhere = broken.spec.model_copy(update={"cron": "* * * * *", "timezone": "Mars/Olympus"})
    world.schedules.schedules[broken.id] = replace(broken, spec=nowhere)
    await world.at(START + MINUTE)
    assert world.runs(good) == [START + MINUTE]
    assert await world.schedules.next_look_at() == START + 2 * MINUTE - LEAD
