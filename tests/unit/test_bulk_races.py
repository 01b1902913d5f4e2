"""The same for many jobs, while others start, end and change them."""

from collections.abc import Sequence
from typing import Any

import pytest

from pipeline import operator
from pipeline.bulk import Tally
from pipeline.domain.execution import Outcome, Succeeded
from pipeline.domain.states import State
from pipeline.ports import JobFilter
from tests.bulk_calls import BOOM, EVERYTHING, MANY, NAMED, bulk
from tests.fakes.interposed import interposed
from tests.fakes.world import World

pytestmark = pytest.mark.unit


@pytest.fixture
def world() -> World:
    return World()


async def test_h9_a_job_that_starts_between_the_look_and_the_write_is_cancelled(
    world: World,
) -> None:
    job_id = await world.ready()

    async def start() -> None:
        assert await world.run("l1")

    store = interposed(world.store, "cancel_waiting_many", before=start)
    assert await bulk(world, store).cancel(EVERYTHING, MANY) == Tally(1, 1, complete=True)
    assert await world.state(job_id) is State.CANCELLED


async def test_h9_a_failure_that_is_recorded_first_is_followed_and_then_cancelled(
    world: World,
) -> None:
    job = await world.running(retry={"base": 60, "jitter": "none"})

    async def fail() -> None:
        await world.ended(job, BOOM)

    store = interposed(world.store, "record", before=fail)
    assert await bulk(world, store).cancel(EVERYTHING, MANY) == Tally(1, 1, complete=True)
    assert await world.state(job.id) is State.CANCELLED
    records = await world.store.executions(job.id)
    assert [record.outcome for record in records] == [Outcome.FAILED]


async def test_h9_a_job_that_passes_between_two_lists_is_found_at_the_next_look(
    world: World,
) -> None:
    """MongoDB's lists of the states are read one after the other: what waits before its failure is
    settled, what runs after it. The job is in neither."""
    job = await world.running(retry={"base": 60, "jitter": "none"})
    await world.stored(delay=60)

    class Between:
        """Shows what waits, then lets the running job go back, then would show what runs."""

        def __init__(self) -> None:
            self.first = True

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        async def list_ids(self, wanted: JobFilter, limit: int, after: Any) -> Any:
            if not self.first:
                return await world.store.list_ids(wanted, limit, after)
            self.first = False
            waiting = JobFilter(states=frozenset({State.PENDING, State.QUEUED}))
            found = await world.store.list_ids(waiting, limit, after)
            await world.ended(job, BOOM)
            return found

    store: Any = Between()
    assert await bulk(world, store).cancel(EVERYTHING, MANY) == Tally(2, 2, complete=True)
    assert await world.state(job.id) is State.CANCELLED


class Evasive:
    """A job that runs whenever what waits is cancelled, and waits whenever what runs is."""

    def __init__(self, world: World, times: int) -> None:
        self._world = world
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.store, name)

    async def cancel_waiting_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        if self._times:
            await self._world.dispatched()
            assert await self._world.run(f"evasive-{self._times}")
        return await self._world.store.cancel_waiting_many(job_ids, wanted)

    async def get_many(self, job_ids: Sequence[str]) -> Any:
        found = await self._world.store.get_many(job_ids)
        if self._times:
            self._times -= 1
            (job,) = found.values()
            await self._world.ended(job, BOOM)
        return await self._world.store.get_many(job_ids)


async def test_h9_nothing_is_left_that_was_and_still_is_what_was_asked_for(world: World) -> None:
    """It evades a cancel again and again, and nothing else happens meanwhile."""
    job_id = await world.ready(retry={"base": 0, "max_attempts": 1000})
    store: Any = Evasive(world, times=5)
    assert await bulk(world, store).cancel(EVERYTHING, MANY) == Tally(1, 1, complete=True)
    assert await world.state(job_id) is State.CANCELLED


async def test_what_evades_for_ever_is_told_not_waited_for(world: World) -> None:
    await world.ready(retry={"base": 0, "max_attempts": 1000})
    store: Any = Evasive(world, times=10_000)
    assert await bulk(world, store).cancel(EVERYTHING, MANY) == Tally(1, 0, complete=False)


async def test_a_success_that_is_recorded_first_stands_and_is_told(world: World) -> None:
    job = await world.running()

    async def succeed() -> None:
        await world.ended(job, Succeeded())

    store = interposed(world.store, "record", before=succeed)
    tally = await bulk(world, store).cancel(EVERYTHING, MANY)
    assert (tally, tally.unchanged) == (Tally(1, 0, complete=True), 1)
    assert await world.state(job.id) is State.SUCCEEDED


async def test_a_job_changed_into_another_is_left_alone(world: World) -> None:
    """Found by its name; renamed before the write. Whoever renamed it wants it run."""
    job_id = await world.stored(name="n", delay=60)

    async def rename() -> None:
        await operator.change(job_id, {"name": "other"}, world.store, world.queue, world.clock)

    store = interposed(world.store, "cancel_waiting_many", before=rename)
    assert await bulk(world, store).cancel(NAMED, MANY) == Tally(1, 0, complete=True)
    assert await world.state(job_id) is State.PENDING


async def test_a_running_job_changed_into_another_between_is_left_alone(world: World) -> None:
    job_id = await world.ready(name="n")

    async def rename_and_start() -> None:
        await operator.change(job_id, {"name": "other"}, world.store, world.queue, world.clock)
        await world.dispatched()
        assert await world.run("l1")

    store = interposed(world.store, "cancel_waiting_many", before=rename_and_start)
    assert await bulk(world, store).cancel(NAMED, MANY) == Tally(1, 0, complete=True)
    assert await world.state(job_id) is State.RUNNING


async def test_a_job_that_starts_under_a_bulk_delete_is_not_deleted(world: World) -> None:
    job_id = await world.ready()

    async def start() -> None:
        assert await world.run("l1")

    store = interposed(world.store, "bury_many", before=start)
    assert await bulk(world, store).bury(EVERYTHING, MANY) == Tally(1, 0, complete=True)
    assert await world.state(job_id) is State.RUNNING


async def test_a_cancel_and_a_retry_of_the_same_jobs_leave_each_in_one_state(world: World) -> None:
    ids = [await world.stored(delay=60) for _ in range(3)]

    async def retry() -> None:
        await bulk(world).redrive(EVERYTHING, MANY)

    store = interposed(world.store, "cancel_waiting_many", after=retry)
    tally = await bulk(world, store).cancel(EVERYTHING, MANY)
    assert (tally.matched, tally.changed) == (3, 3)
    assert {await world.state(job_id) for job_id in ids} == {State.CANCELLED}
