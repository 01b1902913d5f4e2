"""What has ended long ago is buried, and nothing of it is left: fake and MongoDB."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import pymongo
import pytest

from pipeline.domain.execution import ErrorInfo, Failed, Succeeded
from pipeline.domain.states import State
from pipeline.ports import JobFilter, JobStore
from pipeline.store.connect import Document
from pipeline.store.job_store import MongoJobStore
from tests.fakes.clock import SeededChance
from tests.fakes.interposed import Died
from tests.store_world import World, a_mongodb_world, a_world

FATAL = Failed(ErrorInfo("Boom", "it broke"), retryable=False)
EVERYTHING = JobFilter()


@pytest.fixture(params=["fake", "mongodb"])
async def world(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, mongo_url) as world:
        yield world


async def test_what_ended_long_ago_is_buried_by_state(world: World) -> None:
    old = await world.started()
    await world.end(old, Succeeded())
    dead = await world.started()
    await world.end(dead, FATAL)
    world.clock.advance(3600)
    hour = timedelta(seconds=3000)
    assert await world.store.bury_ended(State.SUCCEEDED, 2 * hour, 10) == 0
    assert await world.store.bury_ended(State.SUCCEEDED, hour, 10) == 1
    assert await world.store.bury_ended(State.SUCCEEDED, hour, 10) == 0
    assert await world.store.get(old.id) is None
    assert await world.store.executions(old.id) == []
    assert await world.state(dead.id) is State.DEAD


@pytest.mark.parametrize(
    ("lot", "jobs", "goes"), [(0.0, 8, [0, 1]), (0.99, 8, [6, 7]), (0.99, 7, [0, 1])]
)
async def test_each_sweeper_draws_a_batch_of_the_oldest_of_its_own(
    mongo_url: str, lot: float, jobs: int, goes: list[int]
) -> None:
    """R12: All at the same jobs they would get in each other's way, and three bury no more than
    one. Where there are too few to draw from, none of them is left waiting."""
    async with a_mongodb_world(mongo_url) as world:
        ids = []
        for _ in range(jobs):
            job = await world.started()
            await world.end(job, Succeeded())
            ids.append(job.id)
        world.clock.advance(2 * 86_400)
        store = MongoJobStore(mongo_url, world.clock, Lot(lot), timedelta(seconds=10))
        assert await store.bury_ended(State.SUCCEEDED, timedelta(days=1), 2) == 2
        left = await world.store.get_many(ids)
        assert [n for n, job_id in enumerate(ids) if job_id not in left] == goes
        store.close()


class Lot(SeededChance):
    """Draws always the same."""

    def __init__(self, lot: float) -> None:
        super().__init__(1)
        self._always = lot

    def lot(self) -> float:
        return self._always


class Dying(MongoJobStore):
    """Dies once the tombstones are written, before their executions are deleted."""

    async def _delete_executions(self, buried: Mapping[str, int | None]) -> None:
        raise Died


async def executions_of(mongo_url: str, job_id: str) -> int:
    """Told by MongoDB itself."""
    with pymongo.MongoClient[Document](mongo_url) as client:
        return client.get_default_database().executions.count_documents({"job_id": job_id})


@pytest.mark.parametrize("how", ["bury", "bury_many", "bury_ended"])
async def test_executions_left_by_a_crash_go_before_the_tombstone_does(
    mongo_url: str, how: str
) -> None:
    """R2: were the tombstone deleted first, its id would be free while `<id>/1` still stands."""
    async with a_mongodb_world(mongo_url) as world, a_mongodb_world(mongo_url, Dying) as dying:
        job = await world.started()
        await world.end(job, Succeeded())
        world.clock.advance(3600)
        dying.clock.advance(3600)
        with pytest.raises(Died):
            await _bury(dying.store, how, job.id)
        assert await world.store.get(job.id) is None
        assert await executions_of(mongo_url, job.id) == 1
        world.clock.advance(2 * 86_400)
        assert await world.store.sweep_buried(timedelta(days=1), 10) == 1
        assert await executions_of(mongo_url, job.id) == 0


@pytest.mark.parametrize("how", ["bury", "bury_many"])
async def test_who_deletes_again_after_a_crash_finishes_it(mongo_url: str, how: str) -> None:
    async with a_mongodb_world(mongo_url) as world, a_mongodb_world(mongo_url, Dying) as dying:
        job = await world.started()
        await world.end(job, Succeeded())
        with pytest.raises(Died):
            await _bury(dying.store, how, job.id)
        await _bury(world.store, how, job.id)
        assert await executions_of(mongo_url, job.id) == 0


async def test_a_sweep_that_dies_before_the_tombstone_goes_is_done_again(mongo_url: str) -> None:
    async with a_mongodb_world(mongo_url) as world, a_mongodb_world(mongo_url, Dying) as dying:
        job_id = await world.queued()
        await world.store.bury(job_id)
        dying.clock.advance(2 * 86_400)
        world.clock.advance(2 * 86_400)
        with pytest.raises(Died):
            await dying.store.sweep_buried(timedelta(days=1), 10)
        assert await world.store.sweep_buried(timedelta(days=1), 10) == 1
        assert await world.store.sweep_buried(timedelta(days=1), 10) == 0


async def test_a_job_redriven_between_the_look_and_the_burial_stays(mongo_url: str) -> None:
    """Retention has found it as ended for long enough; then an operator redrives it."""
    async with a_mongodb_world(mongo_url) as world:

        class HeldUp(MongoJobStore):
            async def _bury(self, job_ids: object, condition: Document) -> int:
                assert await world.store.redrive(job.id)
                return await super()._bury([job.id], condition)

        async with a_mongodb_world(mongo_url, HeldUp) as held_up:
            job = await world.started()
            await world.end(job, FATAL)
            held_up.clock.advance(3600)
            found = await held_up.store.bury_ended(State.DEAD, timedelta(minutes=50), 10)
            assert found == 1
            assert await world.state(job.id) is State.PENDING
            assert len(await world.store.executions(job.id)) == 1


async def _bury(store: JobStore, how: str, job_id: str) -> None:
    match how:
        case "bury":
            await store.bury(job_id)
        case "bury_many":
            await store.bury_many([job_id], EVERYTHING)
        case "bury_ended":
            await store.bury_ended(State.SUCCEEDED, timedelta(minutes=50), 10)
