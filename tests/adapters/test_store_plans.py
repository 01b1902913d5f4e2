"""What MongoDB looks at to answer: the price of a question must not follow the history."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pymongo
import pytest

from pipeline.clock import StoreClock
from pipeline.domain.execution import Succeeded, conclude
from pipeline.domain.states import State
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_claim, a_submission
from tests.fakes.clock import SeededChance

ENDED, WAITING = 40, 3


@pytest.fixture
async def store(mongo_url: str) -> AsyncIterator[MongoJobStore]:
    """Many jobs that have ended, a few that wait: queued, pending."""
    clock = StoreClock()
    store = MongoJobStore(mongo_url, clock, SeededChance(1), timedelta(seconds=10))
    await store.prepare()
    await clock.measure(store.server_time)
    now = clock.now()
    ending = [a_submission(at=now) for _ in range(ENDED)]
    await store.insert(ending, now)
    jobs = await store.start([each.id for each in ending], a_claim(at=clock.now()))
    records = [conclude(job, Succeeded(), finished_at=now, lot=0.5) for job in jobs]
    await store.settle(await store.record(records))
    await store.insert([a_submission(at=now) for _ in range(WAITING)], now)
    await store.insert([a_submission(at=now, delay=600) for _ in range(WAITING)], now)
    yield store
    store.close()


async def test_counting_looks_at_what_waits_and_at_nothing_that_has_ended(
    store: MongoJobStore, mongo_url: str
) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
        database = client.get_default_database()
        database.command("profile", 2)
        counts = await store.counts()
        database.command("profile", 0)
        looked_at = sum(each.get("docsExamined", 0) for each in database["system.profile"].find())
    assert counts[State.QUEUED] == counts[State.PENDING] == WAITING
    assert counts[State.SUCCEEDED] == ENDED
    assert looked_at <= 2 * WAITING
