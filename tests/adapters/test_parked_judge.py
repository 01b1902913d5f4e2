"""What may be submitted again, as a real MongoDB knows the keys."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from infra.cli.parked_judge import open_judge
from pipeline.broker.parked_queue import Parked
from pipeline.clock import StoreClock, SystemChance
from pipeline.config import Settings
from pipeline.domain.body import read_spec
from pipeline.domain.errors import Rejected
from pipeline.domain.identity import id_of_key
from pipeline.domain.job import Submission
from pipeline.domain.properties import properties_from_json
from pipeline.store.job_store import MongoJobStore

CLOCK, CHANCE = StoreClock(), SystemChance()


@pytest_asyncio.fixture
async def store(mongo_url: str) -> AsyncIterator[MongoJobStore]:
    store = MongoJobStore(mongo_url, CLOCK, CHANCE, timedelta(seconds=10))
    await store.prepare()
    yield store
    store.close()


async def stored(store: MongoJobStore, key: str, body: Any) -> None:
    now = CLOCK.now()
    await store.insert([Submission(id_of_key(key), now, read_spec(body), body, keyed=True)], now)


async def judged(url: str, body: Any, message_id: str | None = None) -> tuple[str | None, bool]:
    """The name that it gets, and whether there is a doubt; raises `Rejected`."""
    said = {"content_type": "application/json"} | ({"message_id": message_id} if message_id else {})
    parked = Parked("p", {}, b"", properties_from_json(said, {}), 1)
    async with open_judge(Settings(mongo_url=url)) as judge:
        fit = await judge.judge(parked, json.dumps(body).encode())
    return fit.message_id, fit.doubt is not None


@pytest.mark.parametrize(
    ("body", "message_id", "key"),
    [({"payload": 2}, "k", "k"), ({"payload": 2, "idempotency_key": "k"}, None, "k"),
     ([{}, {"payload": 2}], "k", "k/1"), ({"payload": 2}, None, "parked/p"),
     ([{"payload": 2}], None, "parked/p/0")],
)  # fmt: skip
async def test_what_has_the_key_of_another_job_does_not_go_and_its_own_job_does(
    mongo_url: str, store: MongoJobStore, body: Any, message_id: str | None, key: str
) -> None:
    await judged(mongo_url, body, message_id)
    await stored(store, key, {"payload": 2})
    await judged(mongo_url, body, message_id)
    mended = json.loads(json.dumps(body).replace("2", "3"))
    with pytest.raises(Rejected) as rejected:
        await judged(mongo_url, mended, message_id)
    assert rejected.value.code == "conflict"


async def test_what_names_a_deleted_job_does_not_go(mongo_url: str, store: MongoJobStore) -> None:
    """It would be acknowledged, and no job would be there."""
    await stored(store, "k", {"delay": 3600})
    assert await store.bury(id_of_key("k"))
    with pytest.raises(Rejected) as rejected:
        await judged(mongo_url, {"delay": 3600}, "k")
    assert rejected.value.code == "deleted"


async def test_without_mongodb_it_goes_with_a_doubt_and_what_is_bad_still_stays() -> None:
    url = "mongodb://127.0.0.1:1/dueq"
    assert await judged(url, {}) == ("parked/p", True)
    bodies: list[Any] = [{"queue": "a b"}, [], [[]]]
    for bad in bodies:
        with pytest.raises(Rejected):
            await judged(url, bad)


async def test_what_has_a_name_is_given_none(mongo_url: str) -> None:
    assert await judged(mongo_url, {}, "k") == (None, False)
    assert await judged(mongo_url, {"idempotency_key": "k"}) == (None, False)
