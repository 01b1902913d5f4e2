"""The announcer when MongoDB has really forgotten: an oplog of a megabyte, run over.

What it owes then is every end that still stands; what is between it cannot know, and says so.
"""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest_asyncio
from structlog.testing import capture_logs

from infra.local.child import Command
from infra.local.mongodb import MongoDb
from infra.local.ports import Ports
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.states import State
from pipeline.store.event_feed import MongoEventFeed
from pipeline.store.job_store import MongoJobStore
from pipeline.watchers.announcer import Announcer
from tests.fakes.events import FakeEventOutlet
from tests.store_world import a_dead_job
from tests.support import eventually

CALL = timedelta(seconds=10)


class Forgetful(MongoDb):
    """Its oplog holds a megabyte, and what is beyond goes at the checkpoint of every second."""

    def command(self) -> Command:
        command = super().command()
        short = ("--oplogSize", "1", "--syncdelay", "1")
        return replace(command, argv=(*command.argv, *short))


class World:
    """Jobs, and who tells what becomes of them."""

    def __init__(self, url: str) -> None:
        self.clock, self.chance, self.url = StoreClock(), SystemChance(), url
        self.store = MongoJobStore(url, self.clock, self.chance, CALL)
        self.outlet = FakeEventOutlet()
        self.client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(url)
        self.feeds: list[MongoEventFeed] = []

    def announcer(self) -> Announcer:
        self.feeds.append(MongoEventFeed(self.url, self.chance, CALL))
        return Announcer(self.feeds[-1], self.outlet, self.clock, self.chance)

    async def a_dead_job(self) -> str:
        return await a_dead_job(self.store, self.clock.now())

    async def runs_over(self) -> None:
        """Until MongoDB has none of the changes of before."""
        oplog = self.client.local["oplog.rs"]
        (newest,) = oplog.find().sort("$natural", -1).limit(1)

        def is_forgotten() -> bool:
            self.client.other.filler.insert_one({"filler": os.urandom(300_000)})
            (oldest,) = oplog.find().sort("$natural", 1).limit(1)
            return bool(oldest["ts"] > newest["ts"])

        await eventually(is_forgotten, 30.0)

    def dead(self) -> list[str]:
        return [event.job_id for event in self.outlet.told if event.state is State.DEAD]

    def close(self) -> None:
        for feed in self.feeds:
            feed.close()
        self.store.close()
        self.client.close()


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    mongod = Forgetful(tmp_path / "mongodb", Ports(tmp_path))
    await mongod.start()
    try:
        world = World(mongod.url)
        await world.store.prepare()
        yield world
        world.close()
    finally:
        await mongod.stop()


async def test_every_dead_job_is_told_though_mongodb_forgot_its_end_before_it_was_read(
    world: World,
) -> None:
    first = world.announcer()
    await first.round()
    told = await world.a_dead_job()
    await eventually(lambda: _tells(first, world, told))
    first.stop()
    await first.run()  # gives up the right: nobody watches from here on

    missed = await world.a_dead_job()
    await world.runs_over()
    next_one = world.announcer()
    with capture_logs() as lines:
        await next_one.round()
    (said,) = [line for line in lines if line["event"] == "events.history_lost"]
    assert said["error"] == "code 286"
    assert "larger oplog" in said["lost"]
    (found,) = [event for event in world.outlet.told if event.job_id == missed]
    assert (found.routing_key, found.error and found.error.type) == ("job.dead.default", "Boom")

    later = await world.a_dead_job()
    await eventually(lambda: _tells(next_one, world, later))
    assert set(world.dead()) == {told, missed, later}


async def _tells(announcer: Announcer, world: World, job_id: str) -> bool:
    await announcer.round()
    return job_id in world.dead()
