"""Fire times become jobs in their time, by each policy."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from pipeline.domain.errors import Unavailable
from pipeline.domain.execution import Outcome
from pipeline.domain.firing import MAX_CATCH_UP, SkipReason
from pipeline.domain.priority import LOWEST
from pipeline.domain.schedule import LEAD
from pipeline.domain.states import State
from pipeline.ports import LiveNote
from tests.fakes.clock import START, SeededChance
from tests.fakes.interposed import die, interposed
from tests.schedule_world import World, watching

pytestmark = pytest.mark.unit

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world() -> World:
    return World()


# -- each policy


async def test_the_job_of_a_fire_is_stored_ahead_and_due_in_its_time(world: World) -> None:
    schedule = await world.scheduled(job={"queue": "q", "priority": 8, "payload": 1})
    fires = START + MINUTE
    await world.at(fires - LEAD - timedelta(milliseconds=1))
    assert world.runs(schedule) == []
    await world.at(fires - LEAD)
    job = world.run_of(schedule, fires)
    assert (job.due_at, job.state, job.queue) == (fires, State.PENDING, "q")
    assert (job.spec.priority, job.body["payload"]) == (8, 1)
    after = await world.again(schedule)
    assert (after.next_fire_at, after.fired_until) == (fires + MINUTE, fires)


async def test_the_jitter_of_a_fire_delays_its_job_and_not_the_next_fire(world: World) -> None:
    schedule = await world.scheduled(jitter=30)
    await world.at(START + MINUTE)
    due_at = world.run_of(schedule, START + MINUTE).due_at
    assert START + MINUTE < due_at < START + MINUTE + timedelta(seconds=30)
    assert due_at == schedule.due_at(START + MINUTE)
    assert (await world.again(schedule)).next_fire_at == START + 2 * MINUTE


async def test_what_is_due_is_in_redis_at_once_and_a_dispatcher_hears_of_what_soon_is(
    world: World,
) -> None:
    alone, ahead = await world.scheduled(overlap="skip"), await world.scheduled()
    heard = asyncio.ensure_future(world.queue.await_dispatch())
    await world.at(START + MINUTE - LEAD)
    await asyncio.wait_for(heard, 1)
    assert world.run_of(ahead, START + MINUTE).state is State.PENDING
    await world.at(START + MINUTE)
    job = world.run_of(alone, START + MINUTE)
    assert job.state is State.QUEUED
    assert world.is_waiting(job.id)


async def test_skip_a_fire_while_the_last_run_goes_on(world: World) -> None:
    schedule = await world.scheduled(overlap="skip")
    await world.at(START + MINUTE)
    await world.at(START + 2 * MINUTE)
    assert await world.skips(schedule) == {START + 2 * MINUTE: SkipReason.OVERLAP}
    await world.end_runs()
    await world.at(START + 3 * MINUTE)
    assert world.runs(schedule) == [START + MINUTE, START + 3 * MINUTE]


async def test_queue_lets_a_fire_wait_until_the_last_run_has_ended(world: World) -> None:
    schedule = await world.scheduled(overlap="queue", misfire="skip")
    for minute in (1, 2, 3):
        await world.at(START + minute * MINUTE)
    assert world.runs(schedule) == [START + MINUTE]
    for minute in (2, 3):
        await world.end_runs()
        world.clock.advance(0.5)
        await world.scheduler().step()
        assert world.runs(schedule)[-1] == START + minute * MINUTE
    assert await world.skips(schedule) == {}
    assert not (await world.again(schedule)).is_held


async def test_a_held_schedule_is_looked_at_twice_a_second_and_not_all_the_time(
    world: World,
) -> None:
    await world.scheduled(overlap="queue")
    await world.at(START + MINUTE)
    await world.at(START + 2 * MINUTE)
    next_look = await world.schedules.next_look_at()
    assert next_look == world.now + timedelta(milliseconds=500)


async def test_replace_cancels_the_last_run_whether_it_waits_or_runs(world: World) -> None:
    schedule = await world.scheduled(overlap="replace")
    await world.at(START + MINUTE)
    await world.run("lease-1")
    await world.at(START + 2 * MINUTE)
    await world.at(START + 3 * MINUTE)
    states = [world.run_of(schedule, START + minute * MINUTE).state for minute in (1, 2, 3)]
    assert states == [State.CANCELLED, State.CANCELLED, State.QUEUED]
    (record,) = world.store.records.values()
    assert record.outcome is Outcome.CANCELLED


async def test_a_run_that_was_replaced_while_it_waited_is_leased_by_nobody_any_more(
    world: World,
) -> None:
    schedule = await world.scheduled(overlap="replace")
    for minute in (1, 2, 3):
        await world.at(START + minute * MINUTE)
        waiting = [job.job_id for job in await world.queue.peek("default", 9)]
        assert waiting == [world.run_of(schedule, START + minute * MINUTE).id]


async def test_replace_nudges_the_worker_of_the_last_run(world: World) -> None:
    await world.scheduled(overlap="replace")
    await world.at(START + MINUTE)
    (job,) = await world.run("lease-1")
    assert job.worker is not None
    await world.at(START + 2 * MINUTE)
    await asyncio.wait_for(world.queue.await_nudge(job.worker), 5)


async def test_what_a_replaced_run_had_told_stands_in_its_record(world: World) -> None:
    await world.scheduled(overlap="replace")
    await world.at(START + MINUTE)
    (job,) = await world.run("lease-1")
    await world.notes.tell({(job.id, job.attempt): LiveNote(log="a line\n")}, MINUTE)
    await world.at(START + 2 * MINUTE)
    (record,) = await world.store.executions(job.id)
    assert (record.outcome, record.report) == (Outcome.CANCELLED, {"log": "a line\n"})


async def test_a_run_that_ends_by_itself_in_this_moment_is_not_in_the_way_of_its_replacement(
    world: World,
) -> None:
    schedule = await world.scheduled(overlap="replace")
    await world.at(START + MINUTE)
    late = world.interposed("schedules", "unfinished_runs", after=world.end_runs)
    await world.at(START + 2 * MINUTE, late)
    assert world.run_of(schedule, START + MINUTE).state is State.SUCCEEDED
    assert world.runs(schedule)[-1] == START + 2 * MINUTE


async def test_a_paused_schedule_and_one_that_is_over_fire_no_more(world: World) -> None:
    paused = await world.scheduled(paused=True)
    ends = (START + MINUTE).isoformat()
    over = await world.scheduled(end_at=ends)
    for minute in range(1, 4):
        await world.at(START + minute * MINUTE)
    assert world.runs(paused) == []
    assert world.runs(over) == [START + MINUTE]
    assert await world.schedules.next_look_at() is None


# -- what was missed


@pytest.mark.parametrize(
    ("misfire", "runs", "skipped"), [("skip", [], 3), ("latest", [3], 2), ("all", [1, 2, 3], 0)]
)
async def test_what_was_missed_is_made_up_for_or_written_down(
    world: World, misfire: str, runs: list[int], skipped: int
) -> None:
    schedule = await world.scheduled(misfire=misfire)
    await world.at(START + 3.5 * MINUTE)
    assert world.runs(schedule) == [START + minute * MINUTE for minute in runs]
    assert list((await world.skips(schedule)).values()) == [SkipReason.MISFIRE] * skipped


async def test_what_is_made_up_for_waits_behind_all_else_and_is_paced(world: World) -> None:
    """The rate of fresh work must not suffer: 300 jobs of an outage take six seconds."""
    missed = [
        await world.scheduled(misfire="all", misfire_grace=90_000, job={"priority": 9})
        for _ in range(3)
    ]
    await world.at(START + 200.5 * MINUTE)
    made = [world.run_of(each, at) for each in missed for at in world.runs(each)]
    assert {job.spec.priority for job in made} == {LOWEST}
    due = sorted(job.due_at for job in made)
    assert len(due) == 3 * MAX_CATCH_UP
    assert due[0] == world.now
    for earlier, later in pairwise(due):
        assert later - earlier == timedelta(milliseconds=20)
    fresh = await world.scheduled()
    await world.at(world.now + MINUTE)
    assert world.run_of(fresh, world.now).due_at == world.now


async def test_the_pace_is_that_of_the_watcher_and_not_of_one_look(world: World) -> None:
    scheduler = world.scheduler()
    schedules = [await world.scheduled(misfire="all") for _ in range(2)]
    await world.at(START + 10.5 * MINUTE, scheduler)
    schedules.append(await world.scheduled(misfire="all"))
    due = {job.due_at for job in world.store.jobs.values()}
    assert len(due) == len(world.store.jobs) == 20


async def test_what_came_while_a_watcher_looked_is_late_and_not_missed(world: World) -> None:
    """Ten thousand fires of one second take it longer than `ON_TIME`; nobody was away."""
    schedule = await world.scheduled(overlap="skip", misfire="skip")

    async def slowly() -> None:
        world.clock.advance(30)

    slow = world.interposed("schedules", "schedules_to_look_at", after=slowly)
    await world.at(START + MINUTE - timedelta(seconds=2), slow)
    await world.at(START + MINUTE + timedelta(seconds=2), slow)
    job = world.run_of(schedule, START + MINUTE)
    assert (job.queued_at, job.spec.priority) == (world.now, 5)
    assert await world.skips(schedule) == {}


async def test_what_came_while_a_watcher_stood_still_was_missed(world: World) -> None:
    schedule = await world.scheduled(overlap="skip", misfire="skip")
    frozen = world.scheduler()
    await world.at(START + MINUTE - timedelta(seconds=2), frozen)
    await world.at(START + MINUTE + timedelta(seconds=10), frozen)
    assert await world.skips(schedule) == {START + MINUTE: SkipReason.MISFIRE}


async def test_what_the_grace_leaves_out_is_written_down(world: World) -> None:
    schedule = await world.scheduled(misfire="all", misfire_grace=60)
    await world.at(START + 3.5 * MINUTE)
    assert world.runs(schedule) == [START + 3 * MINUTE]
    assert set((await world.skips(schedule)).values()) == {SkipReason.TOO_LATE}


# -- the loop


async def test_the_loop_is_awake_in_the_moment_of_a_fire_that_cannot_be_stored_ahead(
    world: World,
) -> None:
    schedules = [await world.scheduled(overlap="skip", every=every) for every in (1.234, 2.9, 7)]
    async with watching(world):
        await world.clock.run(30)
        for schedule in schedules:
            job = world.run_of(schedule, world.runs(schedule)[0])
            assert job.fire_time is not None
            assert job.queued_at is not None
            assert job.queued_at - job.fire_time <= timedelta(milliseconds=2)


async def test_the_loop_sees_within_half_a_second_what_an_owner_has_just_made(
    world: World,
) -> None:
    async with watching(world):
        await world.clock.run(3)
        schedule = await world.scheduled(every=1)
        await world.clock.run(0.5)
        assert len(world.runs(schedule)) >= 4


async def test_more_than_a_page_is_worked_off_without_a_pause(world: World) -> None:
    schedules = [await world.scheduled() for _ in range(1000)]
    async with watching(world):
        await world.clock.run((MINUTE - LEAD).total_seconds() + 0.51)
        assert all(world.runs(schedule) for schedule in schedules)


async def test_the_loop_goes_on_after_mongodb_was_away(world: World) -> None:
    schedule = await world.scheduled(every=10)
    async with watching(world):
        world.store.down = True
        await world.clock.run(5)
        with pytest.raises(Unavailable):
            await world.scheduler().step()
        world.store.down = False
        await world.clock.run(2)
        assert world.runs(schedule) == [START + timedelta(seconds=10)]


async def test_the_loop_does_not_spin_over_what_another_version_looks_at_earlier(
    world: World,
) -> None:
    schedule = await world.scheduled()
    world.schedules.looks[schedule.id] = START
    fifth = interposed(world.schedules, "next_look_at", before=die, call=5)
    loop = world.scheduler(schedules=fifth).loop(SeededChance(1))
    running = asyncio.ensure_future(loop.run())
    await world.clock.run(0.9)
    loop.stop()
    await running
    assert world.runs(schedule) == []


async def test_an_idle_step_asks_one_question(world: World) -> None:
    await world.scheduled()
    asked = world.interposed("schedules", "schedules_to_look_at", before=die)
    await asked.step()
    assert await world.schedules.next_look_at() is not None
