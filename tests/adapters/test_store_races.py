"""Interleavings inside MongoDB's store, where the fake has one step and the real one has two."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta

import pymongo
import pytest

from pipeline.clock import StoreClock
from pipeline.domain.execution import ErrorInfo, Failed, Lost, conclude
from pipeline.domain.states import State
from pipeline.store.connect import Document
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_claim, a_submission
from tests.fakes.clock import ManualClock, SeededChance

PATIENCE = timedelta(seconds=10)
LOOKAHEAD = timedelta(seconds=2)
SLACK = timedelta(seconds=5)


async def nothing() -> None:
    """Happens in between, usually."""


class HeldUp(MongoJobStore):
    """A dispatcher that is held up between its find and its write, while `meanwhile` happens."""

    meanwhile: Callable[[], Awaitable[object]] = staticmethod(nothing)

    async def _find_due(self, condition: Document, limit: int) -> Sequence[str]:
        found = await super()._find_due(condition, limit)
        meanwhile, self.meanwhile = self.meanwhile, nothing
        await meanwhile()
        return found


@pytest.fixture
async def clock(mongo_url: str) -> ManualClock:
    """MongoDB's time, standing still."""
    store = MongoJobStore(mongo_url, StoreClock(), SeededChance(1), PATIENCE)
    now = await store.server_time()
    store.close()
    return ManualClock(now)


@pytest.fixture
async def store(mongo_url: str, clock: ManualClock) -> AsyncIterator[HeldUp]:
    store = HeldUp(mongo_url, clock, SeededChance(1), PATIENCE)
    await store.prepare()
    yield store
    store.close()


async def test_a_job_postponed_between_find_and_write_is_not_queued(
    store: HeldUp, clock: ManualClock, mongo_url: str
) -> None:
    """H15: PATCH writes a later due time when the dispatcher has found the job and not yet claimed
    it. Claimed by its id alone it would be queued a minute early, not be won, and be dropped."""
    postponed, other = (a_submission(at=clock.now(), delay=1) for _ in range(2))
    await store.insert([postponed, other], clock.now())

    async def postpone() -> None:
        with pymongo.MongoClient[Document](mongo_url) as client:
            later = postponed.due_at + timedelta(minutes=1)
            jobs = client.get_default_database()["jobs"]
            jobs.update_one({"_id": postponed.id}, {"$set": {"due_at": later}})

    store.meanwhile = postpone
    assert [entry.job_id for entry in await store.dispatch(LOOKAHEAD, 10)] == [other.id]
    job = await store.get(postponed.id)
    assert job is not None
    assert job.state is State.PENDING


async def test_a_job_cancelled_between_find_and_write_stays_cancelled(
    store: HeldUp, clock: ManualClock
) -> None:
    """H15: the same with the state in place of the time."""
    submission = a_submission(at=clock.now(), delay=1)
    await store.insert([submission], clock.now())
    store.meanwhile = lambda: store.cancel_waiting(submission.id)
    assert await store.dispatch(LOOKAHEAD, 10) == []
    job = await store.get(submission.id)
    assert job is not None
    assert job.state is State.CANCELLED


@pytest.mark.parametrize(
    "ending", [Failed(ErrorInfo("Boom", "it broke")), Lost(ErrorInfo("l", ""))]
)
async def test_a_host_minutes_ahead_does_not_put_off_what_is_to_run_again(
    store: HeldUp, clock: ManualClock, ending: Failed | Lost
) -> None:
    """H25: the time of a retry is MongoDB's now and the delay of the record; by the clock of this
    worker's host every retry would come five minutes late."""
    submission = a_submission(at=clock.now(), retry={"base": 10, "jitter": "none"})
    await store.insert([submission], clock.now())
    (job,) = await store.start([submission.id], a_claim(at=clock.now()))
    clock.advance(300)
    record = conclude(job, ending, finished_at=clock.now(), lot=0.5)
    await store.settle(await store.record([record]))
    again = await store.get(job.id)
    assert again is not None
    server = await store.server_time()
    assert again.state is State.PENDING
    assert server - SLACK < again.due_at - record.decision.delay < server + SLACK


async def test_a_job_that_is_being_inserted_is_never_counted_as_one_that_succeeded(
    store: HeldUp, mongo_url: str
) -> None:
    """The whole is counted as it is by now, and a part as a majority has it: between the two lies
    every write that waits for its journal."""
    seen = set()
    with pymongo.MongoClient[Document](mongo_url) as client:
        jobs = client.get_default_database()["jobs"].with_options(
            write_concern=pymongo.WriteConcern(w=1, j=False)
        )
        for number in range(20):
            jobs.insert_one({"_id": str(number), "state": State.PENDING.value})
            seen.add((await store.counts())[State.SUCCEEDED])
    assert seen == {0}


async def test_nor_is_one_of_a_batch_of_which_some_are_written_and_none_is_there_yet(
    store: HeldUp, mongo_url: str
) -> None:
    with pymongo.MongoClient[Document](mongo_url) as client:
        jobs = client.get_default_database()["jobs"]

        def insert(name: int) -> None:
            for number in range(40):
                ids = (f"{name}-{number}-{place}" for place in range(100))
                jobs.insert_many([
                    {"_id": job_id, "state": State.PENDING.value, "filler": 3000 * "x"}
                    for job_id in ids
                ])  # fmt: skip

        inserts = asyncio.gather(*(asyncio.to_thread(insert, name) for name in range(6)))
        seen = set()
        while not inserts.done():
            seen.add((await store.counts())[State.SUCCEEDED])
        await inserts
    assert seen == {0}
