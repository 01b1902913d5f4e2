"""The feed on a real MongoDB: every write is a change; the bookmark has one holder at a time."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pymongo
import pytest
import pytest_asyncio

from pipeline.clock import StoreClock
from pipeline.domain.lifecycle import Change, EventError, History, Moment
from pipeline.ports import HistoryLost
from pipeline.store.event_feed import MongoEventFeed
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_claim, a_submission
from tests.fakes.clock import SeededChance
from tests.store_world import a_dead_job

Document = Mapping[str, Any]
CALL = timedelta(seconds=10)


class World:
    """A store, a feed on the same database, and the database itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = StoreClock()
        self.store = MongoJobStore(url, self.clock, SeededChance(1), CALL)
        self.feeds: list[MongoEventFeed] = []
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(url)
        self.database = self._client.get_default_database()

    def feed(self, seed: int = 2) -> MongoEventFeed:
        self.feeds.append(MongoEventFeed(self.url, SeededChance(seed), CALL))
        return self.feeds[-1]

    async def begun(self) -> MongoEventFeed:
        """A feed that holds the right, from now on."""
        feed = self.feed()
        assert await feed.hold()
        await feed.read(10)
        assert await feed.mark()
        return feed

    async def a_dead_job(self) -> str:
        told = {"name": "hello", "tags": ["eu"], "payload": "secret"}
        return await a_dead_job(self.store, self.now, **told)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def forget(self, change: Document) -> None:
        """The bookmark names a change that MongoDB does not have.

        A full oplog gives another code; that is `test_oplog_rollover.py`.
        """
        job_id = change["documentKey"]["_id"]
        there, not_there = (text.encode().hex().upper() for text in (job_id, f"f{job_id[1:]}"))
        bent = change["_id"]["_data"].replace(there, not_there)
        assert bent != change["_id"]["_data"]
        self.database.bookmarks.update_one({}, {"$set": {"token": {"_data": bent}}})

    def right_runs_out(self) -> None:
        self.database.bookmarks.update_one({}, {"$currentDate": {"until": True}})

    def close(self) -> None:
        for feed in self.feeds:
            feed.close()
        self.store.close()
        self._client.close()


@pytest_asyncio.fixture
async def world(mongo_url: str) -> AsyncIterator[World]:
    world = World(mongo_url)
    await world.store.prepare()
    yield world
    world.close()


async def read(feed: MongoEventFeed, count: int) -> list[Change]:
    """So many changes, however they come."""
    changes: list[Change] = []
    while len(changes) < count:
        changes += await feed.read(100)
    return changes


async def test_every_write_is_a_change_of_its_own_in_order(world: World) -> None:
    """Nothing between two writes lets MongoDB make one of them: 200 to one job, unawaited."""
    feed = await world.begun()
    job_id = await world.a_dead_job()
    for _ in range(100):
        assert await world.store.redrive(job_id)
        assert await world.store.cancel_waiting(job_id)

    changes = await read(feed, 203)
    states = [change.fields["state"] for change in changes]
    assert states == ["queued", "running", "dead"] + ["pending", "cancelled"] * 100
    assert sorted({change.moment for change in changes}) == [each.moment for each in changes]


async def test_a_batch_of_writes_is_a_change_for_each_job_without_its_payload(world: World) -> None:
    feed = await world.begun()
    submissions = [a_submission(at=world.now, payload="secret") for _ in range(300)]
    await world.store.insert(submissions, world.now)
    ids = [submission.id for submission in submissions]
    await world.store.start(ids, a_claim(at=world.now))

    changes = await read(feed, 600)
    assert [change.job_id for change in changes[:300]] == ids
    assert {change.job_id for change in changes[300:]} == set(ids)
    assert all(change.fields["attempt"] == 1 for change in changes[300:])
    assert "secret" not in repr(changes)


async def test_after_the_bookmark_everything_is_read_again_and_nothing_before_it(
    world: World,
) -> None:
    feed = await world.begun()
    first = await world.a_dead_job()
    assert len(await read(feed, 3)) == 3
    assert await feed.mark()
    second = await world.a_dead_job()
    assert [change.job_id for change in await read(feed, 3)] == [second] * 3

    feed.rewind()
    again = await read(feed, 3)
    assert [change.job_id for change in again] == [second] * 3
    assert first not in repr(again)


async def test_one_at_a_time_holds_the_right_and_letting_go_frees_it_at_once(world: World) -> None:
    feed, other = await world.begun(), world.feed(3)

    assert not await other.hold()
    assert not await other.mark()
    assert await feed.hold()
    await feed.let_go()
    assert await other.hold()
    assert not await feed.hold()


async def test_who_froze_and_wakes_late_cannot_move_the_bookmark_back(world: World) -> None:
    frozen, other = await world.begun(), world.feed(3)
    await world.a_dead_job()
    await read(frozen, 3)
    world.right_runs_out()
    assert await other.hold()
    await world.a_dead_job()
    await read(other, 6)
    assert await other.mark()
    before = world.database.bookmarks.find_one()

    assert not await frozen.mark()
    assert world.database.bookmarks.find_one() == before
    assert not await frozen.hold()


async def test_a_late_write_under_an_earlier_right_of_the_same_teller_matches_nothing(
    world: World,
) -> None:
    feed, other = await world.begun(), world.feed(3)
    early = feed._holder
    world.right_runs_out()
    assert await other.hold()
    await other.let_go()
    assert not await feed.mark()
    assert await feed.hold()

    assert feed._holder != early


async def test_a_job_is_told_as_it_was_before_a_change_though_it_has_gone_on(world: World) -> None:
    feed = await world.begun()
    job_id = await world.a_dead_job()
    await world.store.redrive(job_id)
    await world.store.bury(job_id)
    changes = await read(feed, 5)

    known = (await feed.before([job_id], changes[2].moment))[job_id]
    assert (known["state"], known["attempt"], known["name"]) == ("running", 1, "hello")
    await world.a_dead_job()
    (later, *_) = await read(feed, 3)
    assert await feed.before([job_id], later.moment) == {}


async def test_beyond_mongodbs_memory_only_what_lasts_is_told(world: World) -> None:
    feed = await world.begun()
    job_id = await world.a_dead_job()

    known = (await feed.before([job_id], Moment(1_000_000_000, 1)))[job_id]
    assert (known["queue"], known["name"], known["tags"]) == ("default", "hello", ["eu"])
    assert known.keys().isdisjoint({"state", "attempt", "failures", "finished_at"})


async def test_what_a_job_was_and_what_it_became_make_its_events(world: World) -> None:
    feed = await world.begun()
    job_id = await world.a_dead_job()
    await world.store.redrive(job_id)
    await world.store.bury(job_id)
    history = History()

    events = history.follow(await read(feed, 5))
    assert [(event.state.value, event.attempt) for event in events] == [
        ("queued", 0), ("running", 1), ("dead", 1), ("pending", 1), ("buried", 1),
    ]  # fmt: skip
    assert events[2].body.reason is not None
    assert events[3].body.reason is None
    assert {event.routing_key.split(".")[2] for event in events} == {"default"}
    assert {event.body.name for event in events} == {"hello"}


async def test_the_error_of_an_attempt_is_told_without_its_long_story(world: World) -> None:
    feed = await world.begun()
    job_id = await world.a_dead_job()

    assert await feed.errors([(job_id, 1), (job_id, 2)]) == {
        (job_id, 1): EventError(type="Boom", message="it broke")
    }


async def test_a_bookmark_that_mongodb_has_forgotten_is_said_and_the_ends_since_are_found(
    world: World,
) -> None:
    before = await world.a_dead_job()
    world.database.jobs.update_one(
        {"_id": before}, {"$set": {"finished_at": world.now - timedelta(hours=1)}}
    )
    feed = await world.begun()
    with world.database.jobs.watch() as stream:
        missed = await world.a_dead_job()
        world.forget(stream.next())
    feed.rewind()
    with pytest.raises(HistoryLost):
        await feed.read(10)

    found = [event async for batch in feed.start_over() for event in batch]
    again = [event async for batch in feed.start_over() for event in batch]
    assert [(event.job_id, event.routing_key) for event in found] == [(missed, "job.dead.default")]
    assert [event.id for event in found] == [event.id for event in again]
    assert await feed.mark()
    later = await world.a_dead_job()
    assert {change.job_id for change in await read(feed, 3)} == {later}


async def test_the_lag_is_small_when_all_is_told_and_grows_while_nobody_tells(world: World) -> None:
    assert await world.feed(9).lag() is None
    feed = await world.begun()
    lag = await feed.lag()

    assert lag is not None
    assert lag < timedelta(seconds=15)
    world.database.bookmarks.update_one({}, {"$set": {"at": world.now - timedelta(hours=2)}})
    assert (await feed.lag() or timedelta(0)) > timedelta(hours=1)
