"""The same for many jobs, while others add jobs, and without the help of Redis."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import cast

import pytest

from pipeline import bulk as bulk_module
from pipeline import operator
from pipeline.bulk import Bulk, Tally
from pipeline.domain.errors import Unavailable
from pipeline.domain.execution import Outcome, Succeeded
from pipeline.domain.states import Event, State
from pipeline.ports import JobFilter, LeaseQueue, LiveNote, LiveNotes
from tests.bulk_calls import EVERYTHING, FATAL, MANY, NAMED, bulk
from tests.fakes.interposed import interposed
from tests.fakes.live_notes import FakeLiveNotes
from tests.fakes.world import World

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_module, "_BATCH", 250)
    monkeypatch.setattr(bulk_module, "_RUNNING", 2)


@pytest.fixture
def world() -> World:
    return World()


async def one_in_each_state(world: World) -> dict[State, str]:
    jobs = {State.PENDING: await world.stored(delay=60)}
    for state, ending in ((State.SUCCEEDED, Succeeded()), (State.DEAD, FATAL)):
        job = await world.running(f"lease-{state}")
        await world.ended(job, ending)
        jobs[state] = job.id
    jobs[State.RUNNING] = (await world.running("lease-running")).id
    jobs[State.CANCELLED] = await world.stored()
    await world.store.cancel_waiting(jobs[State.CANCELLED])
    jobs[State.QUEUED] = await world.stored()
    return jobs


async def states(world: World, jobs: dict[State, str]) -> dict[State, State | None]:
    found = await world.store.get_many(list(jobs.values()))
    return {
        state: found[job_id].state if job_id in found else None for state, job_id in jobs.items()
    }


async def test_a_bulk_cancel_ends_what_waits_and_what_runs_and_nothing_else(world: World) -> None:
    jobs = await one_in_each_state(world)
    assert await bulk(world).cancel(EVERYTHING, MANY) == Tally(3, 3, complete=True)
    assert await states(world, jobs) == {
        State.PENDING: State.CANCELLED, State.QUEUED: State.CANCELLED,
        State.RUNNING: State.CANCELLED, State.SUCCEEDED: State.SUCCEEDED,
        State.DEAD: State.DEAD, State.CANCELLED: State.CANCELLED,
    }  # fmt: skip
    (record,) = await world.store.executions(jobs[State.RUNNING])
    assert record.outcome is Outcome.CANCELLED


async def test_a_bulk_cancel_nudges_each_worker_once_if_redis_is_there(world: World) -> None:
    for number in range(3):
        await world.ready()
        await world.run(f"lease-{number}", worker=f"w{number % 2}")
    await bulk(world).cancel(EVERYTHING, MANY)
    for worker in ("w0", "w1"):
        await asyncio.wait_for(world.queue.await_nudge(worker), 5)
    running = await world.running("lease-3")
    world.queue.go_down()
    await bulk(world).cancel(EVERYTHING, MANY)
    assert (await world.job(running.id)).state is State.CANCELLED


@pytest.mark.parametrize("end", [Bulk.cancel, Bulk.bury])
async def test_what_was_ended_while_it_waited_is_leased_by_nobody_any_more(
    world: World, end: Callable[[Bulk, JobFilter, int], Awaitable[Tally]]
) -> None:
    # At a limit one ghost after another would be leased and refused, before whoever is behind.
    for _ in range(3):
        await world.ready(name="n")
    other = await world.ready()
    await end(bulk(world), NAMED, MANY)
    assert (await world.queue.view("default")).ready == 1
    assert [job.job_id for job in await world.queue.peek("default", 9)] == [other]


async def test_a_bulk_cancel_does_without_redis(world: World) -> None:
    job_id = await world.ready()
    world.queue.go_down()
    assert await bulk(world).cancel(EVERYTHING, MANY) == Tally(1, 1, complete=True)
    assert (await world.job(job_id)).state is State.CANCELLED


async def test_what_a_cancelled_attempt_had_told_stands_in_its_record(world: World) -> None:
    notes = FakeLiveNotes()
    many = Bulk(world.store, world.queue, world.clock, timedelta(seconds=20), notes)
    one, other = await world.running("lease-1"), await world.running("lease-2")
    for job in (one, other):
        await notes.tell({(job.id, job.attempt): LiveNote(log="a line\n")}, timedelta(1))
    await operator.cancel(one.id, world.store, world.clock, notes=notes)
    await many.cancel(EVERYTHING, MANY)
    for job in (one, other):
        (record,) = await world.store.executions(job.id)
        assert (record.outcome, record.report) == (Outcome.CANCELLED, {"log": "a line\n"})


async def test_a_bulk_retry_takes_the_dead_and_the_cancelled(world: World) -> None:
    jobs = await one_in_each_state(world)
    assert await bulk(world).redrive(EVERYTHING, MANY) == Tally(2, 2, complete=True)
    after = await states(world, jobs)
    assert after[State.DEAD] is after[State.CANCELLED] is State.PENDING
    assert after[State.SUCCEEDED] is State.SUCCEEDED
    assert world.queue.has_token("(dispatch)")


async def test_a_bulk_delete_takes_all_that_does_not_run_with_its_executions(world: World) -> None:
    jobs = await one_in_each_state(world)
    assert await bulk(world).bury(EVERYTHING, MANY) == Tally(5, 5, complete=True)
    after = await states(world, jobs)
    assert {state for state, stands in after.items() if stands} == {State.RUNNING}
    assert world.store.records == {}


@pytest.mark.parametrize(
    ("event", "number"), [(Event.CANCEL, 3), (Event.REDRIVE, 2), (Event.BURY, 5)]
)
async def test_a_dry_run_counts_what_could_be_moved_and_moves_nothing(
    world: World, event: Event, number: int
) -> None:
    jobs = await one_in_each_state(world)
    assert await bulk(world).count(event, EVERYTHING, MANY) == Tally(number, 0, complete=True)
    assert await states(world, jobs) == {state: state for state in jobs}


async def test_only_what_the_filter_finds_is_moved(world: World) -> None:
    named, other = await world.stored(name="n", queue="eu"), await world.stored(queue="eu")
    only = JobFilter(name="n", queue="eu", states=frozenset({State.QUEUED, State.DEAD}))
    assert await bulk(world).cancel(only, MANY) == Tally(1, 1, complete=True)
    assert await world.state(named) is State.CANCELLED
    assert await world.state(other) is State.QUEUED
    assert await bulk(world).cancel(JobFilter(states=frozenset({State.SUCCEEDED})), MANY) == Tally(
        0, 0, complete=True
    )


async def test_the_limit_takes_the_newest_and_says_that_there_are_more(world: World) -> None:
    ids = []
    for _ in range(600):
        ids.append(await world.stored(delay=60))
        world.clock.advance(0.001)
    assert await bulk(world).cancel(EVERYTHING, 400) == Tally(400, 400, complete=False)
    left = [job.id for job in world.store.jobs.values() if job.state is State.PENDING]
    assert left == ids[:200]
    assert await bulk(world).cancel(EVERYTHING, 200) == Tally(200, 200, complete=True)


async def test_jobs_that_are_added_meanwhile_are_not_touched(world: World) -> None:
    """Else a call on a busy system would never come to its end."""
    for _ in range(300):
        await world.stored(delay=60)

    async def add() -> None:
        world.clock.advance(0.01)
        fresh.append(await world.stored(delay=60))

    fresh: list[str] = []
    store = interposed(world.store, "cancel_waiting_many", before=add)
    assert await bulk(world, store).cancel(EVERYTHING, MANY) == Tally(300, 300, complete=True)
    assert await world.state(fresh[0]) is State.PENDING


async def test_all_that_run_are_cancelled_in_one_look_though_a_few_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_module, "_LOOKS", 2)  # the second finds nothing
    ids = [(await world.running(f"lease-{number}")).id for number in range(5)]
    assert await bulk(world).cancel(EVERYTHING, MANY) == Tally(5, 5, complete=True)
    assert {await world.state(job_id) for job_id in ids} == {State.CANCELLED}
    for job_id in ids:
        assert len(await world.store.executions(job_id)) == 1


async def test_a_call_on_more_than_fits_its_time_ends_and_says_so(world: World) -> None:
    for _ in range(600):
        await world.stored(delay=60)

    async def take_long() -> None:
        world.clock.advance(21)

    store = interposed(world.store, "cancel_waiting_many", before=take_long)
    tally = await bulk(world, store).cancel(EVERYTHING, MANY)
    assert (tally.changed, tally.complete) == (250, False)


async def test_a_limit_that_is_just_enough_is_no_reason_to_say_that_there_are_more(
    world: World,
) -> None:
    for _ in range(7):
        await world.stored(delay=60)
    assert await bulk(world).count(Event.CANCEL, EVERYTHING, 7) == Tally(7, 0, complete=True)
    assert await bulk(world).count(Event.CANCEL, EVERYTHING, 6) == Tally(6, 0, complete=False)
    assert await bulk(world).cancel(EVERYTHING, 7) == Tally(7, 7, complete=True)


async def test_a_bulk_retry_works_without_redis(world: World) -> None:
    job_id = await world.stored()
    await world.store.cancel_waiting(job_id)
    world.queue.go_down()
    assert (await bulk(world).redrive(EVERYTHING, MANY)).changed == 1


class Hanging:
    """A Redis that takes its time, and then has not answered."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def hang(*_: object) -> None:
            self._world.clock.advance(10)
            raise Unavailable("Redis", "no answer in time")

        return hang


@pytest.mark.parametrize("act", ["cancel", "redrive", "bury"])
async def test_a_redis_that_hangs_is_waited_for_once_not_for_every_batch(
    world: World, act: str
) -> None:
    """Else a call would end with its time, not with its jobs."""
    for number in range(5):
        await world.running(f"lease-{number}")
    for _ in range(600):
        await world.stored(delay=60)
    if act == "redrive":
        await bulk(world).cancel(EVERYTHING, MANY)
    began, queue = world.now, cast("LeaseQueue", Hanging(world))
    notes = cast("LiveNotes", queue)
    many = Bulk(world.store, queue, world.clock, timedelta(seconds=20), notes)
    jobs = 600 if act == "bury" else 605
    assert await getattr(many, act)(EVERYTHING, MANY) == Tally(jobs, jobs, complete=True)
    assert world.now - began == timedelta(seconds=10)
