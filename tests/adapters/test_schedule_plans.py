"""What MongoDB looks at for a watcher: schedules that are not due and jobs that have ended cost
nothing, however many there are."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

from pipeline.domain.execution import Succeeded, conclude
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_claim, a_submission
from tests.fakes.clock import START, ManualClock, SeededChance
from tests.schedules import a_schedule, a_skip, an_advance

MANY, RUNS = 200, 60
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def store(mongo_url: str) -> AsyncIterator[MongoJobStore]:
    """Many schedules of which none is due for an hour."""
    clock = ManualClock()
    store = MongoJobStore(mongo_url, clock, SeededChance(1), timedelta(seconds=10))
    await store.prepare()
    for _ in range(MANY):
        await store.schedules.insert_schedule(a_schedule(every=3600, job={"payload": "x" * 100}))
    yield store
    store.close()


@pytest.fixture
def database(mongo_url: str) -> Iterator[Database[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
        yield client.get_default_database()


@dataclass
class Seen:
    """What MongoDB looked at."""

    documents: int = 0
    keys: int = 0


@contextmanager
def looked_at(database: Database[dict[str, Any]]) -> Iterator[Seen]:
    """By its own account, while the body ran."""
    seen = Seen()
    database.command("profile", 2)
    yield seen
    database.command("profile", 0)
    for operation in database["system.profile"].find({"op": "query"}):
        seen.documents += operation.get("docsExamined", 0)
        seen.keys += operation.get("keysExamined", 0)


async def test_schedules_of_which_none_is_due_cost_a_look_at_an_index(
    store: MongoJobStore, database: Database[dict[str, Any]]
) -> None:
    with looked_at(database) as seen:
        assert await store.schedules.next_look_at() is not None
        assert await store.schedules.schedules_to_look_at(START + MINUTE, 250) == []
    assert seen.documents == 0
    assert seen.keys <= 3


async def test_of_many_that_are_due_only_those_that_are_drawn_are_read(
    store: MongoJobStore, database: Database[dict[str, Any]]
) -> None:
    with looked_at(database) as seen:
        page = await store.schedules.schedules_to_look_at(START + 120 * MINUTE, 10)
    assert len(page) == 10
    assert seen.documents == 10
    assert seen.keys <= 100


async def test_what_is_paused_is_not_in_the_index_of_what_is_looked_at(
    store: MongoJobStore, database: Database[dict[str, Any]]
) -> None:
    await store.schedules.insert_schedule(a_schedule(paused=True))
    assert len(list(database.schedules.find({}, {"_id": 1}).hint("by_look"))) == MANY


async def test_whether_a_run_goes_on_is_answered_without_those_that_have_ended(
    store: MongoJobStore, database: Database[dict[str, Any]]
) -> None:
    schedule = a_schedule()
    fires = [
        schedule.submission(START - number * MINUTE, START, 5, START) for number in range(RUNS)
    ]
    await store.insert(fires, START)
    jobs = await store.start([each.id for each in fires[1:]], a_claim())
    records = [conclude(job, Succeeded(), finished_at=START, lot=0.5) for job in jobs]
    await store.settle(await store.record(records))
    with looked_at(database) as seen:
        runs = await store.schedules.unfinished_runs({schedule.id: START + MINUTE})
    assert runs == {schedule.id: [fires[0].id]}
    assert seen.documents == 1


async def test_jobs_of_no_schedule_are_in_no_index_of_schedules(
    store: MongoJobStore, database: Database[dict[str, Any]]
) -> None:
    schedule = a_schedule()
    await store.insert([a_submission(at=START) for _ in range(5)], START)
    await store.insert([schedule.submission(START, START, 5, START)], START)
    for index in ("by_schedule", "unfinished_by_schedule"):
        assert len(list(database.jobs.find({}, {"_id": 1}).hint(index))) == 1


async def test_what_was_skipped_is_read_from_an_index_and_goes_when_it_is_old(
    store: MongoJobStore, database: Database[dict[str, Any]]
) -> None:
    for schedule in (mine := a_schedule(), a_schedule(), a_schedule()):
        await store.schedules.advance([an_advance(schedule, a_skip(START))], START)
    with looked_at(database) as seen:
        assert len(await store.schedules.skipped(mine.id, 10, None)) == 1
    assert seen.documents == 1
    kept = database.skipped_fires.index_information()["by_decision"]["expireAfterSeconds"]
    assert kept == timedelta(days=90).total_seconds()
