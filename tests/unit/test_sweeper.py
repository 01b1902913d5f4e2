"""Tombstones go when no redelivery can come any more, executions before them."""

from datetime import timedelta

import pytest

from pipeline.domain.execution import Succeeded
from pipeline.domain.states import State
from pipeline.ports import Stored
from pipeline.watchers.sweeper import Sweeper
from tests.builders import a_submission, an_execution
from tests.fakes.clock import SeededChance
from tests.fakes.world import World

pytestmark = pytest.mark.unit

DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def world() -> World:
    return World()


async def test_h3_a_tombstone_is_kept_for_a_day(world: World) -> None:
    """Swept at once, it could not stop the redelivery that it is there for."""
    submission = a_submission(at=world.now)
    await world.store.insert([submission], world.now)
    await world.store.bury(submission.id)
    world.clock.advance(DAY - 1)
    await Sweeper(world.store).step()
    assert await world.store.insert([submission], world.now) == [Stored.KNOWN]
    assert await world.store.get(submission.id) is None


async def test_tombstones_older_than_a_day_go_however_many(world: World) -> None:
    for _ in range(1200):
        await world.store.bury(await world.stored())
    world.clock.advance(DAY + 1)
    await Sweeper(world.store).step()
    assert world.store.tombs == {}


async def test_h4_executions_that_a_crash_left_behind_go_with_the_tombstone(world: World) -> None:
    """Whoever buried the job died between the tombstone and its executions. Left there, `j/1` would
    be waiting for a job that is born again under this id."""
    job = await world.running()
    await world.ended(job, Succeeded())
    await world.store.bury(job.id)
    await world.store.record([an_execution(job)])
    world.clock.advance(DAY + 1)
    await Sweeper(world.store).step()
    assert world.store.records == {}


async def test_what_lives_is_not_swept_however_old(world: World) -> None:
    job = await world.running()
    await world.ended(job, Succeeded())
    waiting = await world.stored(delay=10 * DAY)
    world.clock.advance(5 * DAY)
    await Sweeper(world.store).step()
    assert await world.state(job.id) is State.SUCCEEDED
    assert await world.state(waiting) is State.PENDING
    assert len(await world.store.executions(job.id)) == 1


def test_it_has_a_loop_of_its_own(world: World) -> None:
    assert Sweeper(world.store).loop(world.clock, SeededChance(1)).name == "sweeper"
