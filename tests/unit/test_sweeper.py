"""What has ended long ago goes: buried first, then its executions, a day later the tombstone."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

import pytest

from pipeline import operator
from pipeline.domain.execution import Ending, ErrorInfo, Failed, Succeeded
from pipeline.domain.states import State
from pipeline.ports import JobStore, Stored
from pipeline.watchers import sweeper
from pipeline.watchers.sweeper import Sweeper
from tests.builders import a_submission, an_execution
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.interposed import Died, die, interposed
from tests.fakes.job_store import FakeJobStore
from tests.fakes.world import World

pytestmark = pytest.mark.unit

DAY = timedelta(days=1).total_seconds()


RETENTION = {State.SUCCEEDED: timedelta(days=7), State.DEAD: timedelta(days=30)}
GONE = Failed(ErrorInfo("Boom", "it broke"), retryable=False)


@pytest.fixture
def world() -> World:
    return World()


async def swept(
    world: World,
    retention: Mapping[State, timedelta] = MappingProxyType({}),
    store: JobStore | None = None,
) -> None:
    """One pass, with all its pauses."""
    step = asyncio.ensure_future(Sweeper(store or world.store, world.clock, retention).step())
    await world.clock.run(60)
    await step


async def ended(world: World, ending: Ending) -> str:
    """A job that ended so, now."""
    job = await world.running(lease_id=world.chance.token())
    await world.ended(job, ending)
    return job.id


async def test_h3_a_tombstone_is_kept_for_a_day(world: World) -> None:
    """H3: Swept at once, it could not stop the redelivery that it is there for."""
    submission = a_submission(at=world.now)
    await world.store.insert([submission], world.now)
    await world.store.bury(submission.id)
    world.clock.advance(DAY - 1)
    await swept(world)
    assert await world.store.insert([submission], world.now) == [Stored.KNOWN]
    assert await world.store.get(submission.id) is None


async def test_tombstones_older_than_a_day_go_however_many(world: World) -> None:
    for _ in range(1200):
        await world.store.bury(await world.stored())
    world.clock.advance(DAY + 1)
    await swept(world)
    assert world.store.tombs == {}


async def test_h4_executions_that_a_crash_left_behind_go_with_the_tombstone(world: World) -> None:
    """H4: Whoever buried the job died between the tombstone and its executions. Left there, `j/1`
    would be waiting for a job that is born again under this id."""
    job = await world.running()
    await world.ended(job, Succeeded())
    await world.store.bury(job.id)
    await world.store.record([an_execution(job)])
    world.clock.advance(DAY + 1)
    await swept(world)
    assert world.store.records == {}


async def test_what_lives_is_not_swept_however_old(world: World) -> None:
    job = await world.running()
    await world.ended(job, Succeeded())
    waiting = await world.stored(delay=10 * DAY)
    world.clock.advance(5 * DAY)
    await swept(world)
    assert await world.state(job.id) is State.SUCCEEDED
    assert await world.state(waiting) is State.PENDING
    assert len(await world.store.executions(job.id)) == 1


def test_it_has_a_loop_of_its_own(world: World) -> None:
    assert Sweeper(world.store, world.clock, {}).loop(SeededChance(1)).name == "sweeper"


# -- retention


async def test_each_final_state_is_kept_for_its_time_and_its_executions_with_it(
    world: World,
) -> None:
    well, badly = await ended(world, Succeeded()), await ended(world, GONE)
    world.clock.advance(7 * DAY - 1)
    await swept(world, RETENTION)
    assert world.store.jobs.keys() == {well, badly}
    world.clock.advance(2)
    await swept(world, RETENTION)
    assert world.store.jobs.keys() == {badly}
    assert await world.store.executions(well) == []
    assert len(await world.store.executions(badly)) == 1
    world.clock.advance(23 * DAY)
    await swept(world, RETENTION)
    assert world.store.jobs == {}
    assert world.store.records == {}


async def test_a_state_without_a_retention_is_kept_for_ever(world: World) -> None:
    job_id = await world.stored()
    await world.store.cancel_waiting(job_id)
    world.clock.advance(3650 * DAY)
    await swept(world, RETENTION)
    assert await world.state(job_id) is State.CANCELLED


async def test_h3_what_retention_buries_is_not_born_again_by_a_late_redelivery(
    world: World,
) -> None:
    submission = a_submission(at=world.now)
    await world.store.insert([submission], world.now)
    await world.store.cancel_waiting(submission.id)
    world.clock.advance(DAY)
    await swept(world, {State.CANCELLED: timedelta(hours=1)})
    assert await world.store.insert([submission], world.now) == [Stored.KNOWN]
    assert await world.store.get(submission.id) is None


async def test_a_pass_is_short_and_the_next_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set up on years of history, a sweep that goes on until all is gone would hold a stop up."""
    monkeypatch.setattr(sweeper, "_PASS_SECONDS", 0.02)
    for _ in range(3_000):
        await world.store.cancel_waiting(await world.stored())
    world.clock.advance(DAY)
    retention = {State.CANCELLED: timedelta(hours=1)}
    await swept(world, retention)
    left = len(world.store.jobs)
    assert 0 < left < 3_000
    await swept(world, retention)
    assert len(world.store.jobs) < left


async def test_what_a_pass_has_left_is_gone_on_with_before_the_next_period(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a watcher could bury only so many a period, and fall behind the jobs of today."""
    monkeypatch.setattr(sweeper, "_PASS_SECONDS", 0.02)
    for _ in range(6_000):
        await world.store.cancel_waiting(await world.stored())
    world.clock.advance(DAY)
    loop = Sweeper(world.store, world.clock, {State.CANCELLED: timedelta(hours=1)}).loop(
        SeededChance(1)
    )
    running = asyncio.ensure_future(loop.run())
    await world.clock.run(4.5)
    assert world.store.jobs == {}
    loop.stop()
    await world.clock.run(12)
    await running


class Endless(FakeJobStore):
    """There is always more of what succeeded; each batch of anything takes a while."""

    batches: list[State]
    manual: ManualClock

    async def bury_ended(self, state: State, older_than: timedelta, limit: int) -> int:
        self.batches.append(state)
        self.manual.advance(0.3)
        found = await super().bury_ended(state, older_than, limit)
        return limit if state is State.SUCCEEDED else found


async def batches_of_a_pass(world: World) -> list[State]:
    store = Endless(world.clock)
    store.batches, store.manual = [], world.clock
    await swept(world, RETENTION, store)
    return store.batches


async def test_what_never_comes_to_its_end_does_not_keep_the_others_from_theirs(
    world: World,
) -> None:
    """One state that is buried as fast as jobs end in it would be the only one ever swept."""
    assert State.DEAD in await batches_of_a_pass(world)


async def test_a_sweep_rests_in_proportion_to_what_it_has_done(world: World) -> None:
    """A third of the time belongs to others, also where a batch takes long: of the two seconds, 1.4
    are left for work, in batches of 0.3, and the one that is begun is finished."""
    assert len(await batches_of_a_pass(world)) == 5


async def test_a_job_redriven_under_the_sweep_stays(world: World) -> None:
    """Found as dead for long enough; an operator redrives it before it is buried."""
    job_id = await ended(world, GONE)
    world.clock.advance(31 * DAY)

    async def redrive() -> None:
        await operator.redrive(job_id, world.store, world.queue)

    await swept(world, RETENTION, interposed(world.store, "bury_ended", before=redrive, call=2))
    assert await world.state(job_id) is State.PENDING


@pytest.mark.parametrize("method", ["sweep_buried", "bury_ended"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_sweeper_that_dies_between_two_steps_leaves_nothing_that_the_next_one_misses(
    world: World, method: str, when: str
) -> None:
    await ended(world, Succeeded())
    world.clock.advance(8 * DAY)
    store = interposed(
        world.store,
        method,
        before=die if when == "before" else None,
        after=die if when == "after" else None,
    )
    with pytest.raises(Died):
        await Sweeper(store, world.clock, RETENTION).step()
    await swept(world, RETENTION)
    world.clock.advance(DAY + 1)
    await swept(world, RETENTION)
    assert (world.store.jobs, world.store.tombs, world.store.records) == ({}, {}, {})
