"""What MongoDB will not take of an attempt's record, and what it will not take at the moment."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from pymongo.errors import BulkWriteError

from pipeline.clock import StoreClock
from pipeline.domain.errors import Rejected, UnknownOutcome
from pipeline.domain.execution import ErrorInfo, Execution, Failed, Outcome, Succeeded, conclude
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.store.connect import connect, database_of, failed_writes
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_claim, a_submission
from tests.fakes.clock import SeededChance

PATIENCE = timedelta(seconds=10)


@dataclass
class World:
    """A store whose jobs run."""

    url: str
    clock: StoreClock
    store: MongoJobStore

    async def running(self, count: int) -> list[Job]:
        """So many jobs that one worker has started."""
        submissions = [a_submission(at=self.clock.now()) for _ in range(count)]
        later = self.clock.now() + timedelta(seconds=1)
        await self.store.insert(submissions, later)
        ids = [submission.id for submission in submissions]
        won = {job.id: job for job in await self.store.start(ids, a_claim(at=later))}
        return [won[job_id] for job_id in ids]

    def ended(self, jobs: list[Job], *results: Any) -> list[Execution]:
        """The records of jobs that succeeded."""
        now = self.clock.now()
        return [
            conclude(job, Succeeded(result), finished_at=now, lot=0)
            for job, result in zip(jobs, results, strict=True)
        ]

    async def refuse(self, condition: dict[str, Any]) -> None:
        """MongoDB takes no executions but such; there must not be any yet."""
        client = connect(self.url, PATIENCE)
        try:
            await database_of(client).create_collection("executions", validator=condition)
        finally:
            client.close()


@pytest_asyncio.fixture
async def world(mongo_url: str) -> AsyncIterator[World]:
    clock = StoreClock()
    store = MongoJobStore(mongo_url, clock, SeededChance(1), PATIENCE)
    await store.prepare()
    await clock.measure(store.server_time)
    yield World(mongo_url, clock, store)
    store.close()


UNSTORABLE = [2**70, {"a\0b": 1}, "\ud800", "x" * (16 * 1024 * 1024)]


@pytest.mark.parametrize("result", UNSTORABLE, ids=["integer", "key", "surrogate", "large"])
async def test_a_result_that_mongodb_cannot_take_costs_itself_and_not_the_record(
    world: World, result: Any
) -> None:
    """Without a record the job would be lost, and its work done again."""
    jobs = await world.running(2)
    standing = await world.store.record(world.ended(jobs, result, "fine"))
    await world.store.settle(standing)
    assert [(one.outcome, one.result) for one in standing] == [
        (Outcome.SUCCEEDED, None),
        (Outcome.SUCCEEDED, "fine"),
    ]
    found = await world.store.get_many([job.id for job in jobs])
    assert {job.state for job in found.values()} == {State.SUCCEEDED}
    ((record,), _) = [await world.store.executions(job.id) for job in jobs]
    assert "left_out" in record.report


async def test_an_error_that_mongodb_cannot_take_still_says_what_it_was(world: World) -> None:
    (job,) = await world.running(1)
    error = ErrorInfo("Boom", "so\ud800 it broke", "x" * (16 * 1024 * 1024))
    record = conclude(job, Failed(error), finished_at=world.clock.now(), lot=0)
    (standing,) = await world.store.record([record])
    assert standing.error == ErrorInfo("Boom", "so? it broke")
    assert standing.decision == record.decision


async def test_what_the_server_refuses_is_recorded_bare_and_the_first_record_stands(
    world: World,
) -> None:
    jobs = await world.running(2)
    await world.refuse({"result": {"$ne": "refused"}})
    records = world.ended(jobs, "refused", "fine")
    (bare, fine) = await world.store.record(records)
    assert (bare.outcome, bare.result, fine.result) == (Outcome.SUCCEEDED, None, "fine")
    late = [replace(record, outcome=Outcome.LOST) for record in records]
    assert [one.outcome for one in await world.store.record(late)] == [Outcome.SUCCEEDED] * 2
    assert [one.result for one in await world.store.record(records)] == [None, "fine"]


async def test_a_record_that_is_refused_bare_too_is_given_up_and_its_neighbours_are_not(
    world: World,
) -> None:
    """Not `Unavailable`: the finisher would repeat it for ever, and all that waits behind it."""
    jobs = await world.running(2)
    await world.refuse({"job_id": {"$ne": jobs[0].id}})
    with pytest.raises(Rejected, match=jobs[0].id):
        await world.store.record(world.ended(jobs, 1, 2))
    assert [record.result for record in await world.store.executions(jobs[1].id)] == [2]


def test_only_what_lies_in_the_document_is_for_ever() -> None:
    """An election in the middle of a batch fails its writes one by one, and passes."""
    for_ever = [{"index": 0, "code": 11000, "errmsg": ""}, {"index": 3, "code": 121, "errmsg": ""}]
    assert failed_writes(BulkWriteError({"writeErrors": for_ever})) == {0: 11000, 3: 121}
    for code in (189, 10107, 11600, 14031, 50):
        passing = [*for_ever, {"index": 4, "code": code, "errmsg": "not now"}]
        with pytest.raises(UnknownOutcome, match="not now"):
            failed_writes(BulkWriteError({"writeErrors": passing}))
    with pytest.raises(UnknownOutcome, match="majority"):
        failed_writes(BulkWriteError({"writeErrors": for_ever, "writeConcernErrors": [{}]}))
