"""Lifecycle events against what MongoDB itself wrote down, while their teller is killed.

What should have been told is read from the oplog, which is neither DueQ's nor the change stream's:
one entry for each write, so that two states of a job can never melt into one. What was told is
read by another client library.
"""

import asyncio
import itertools
import json
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pymongo
import pytest_asyncio
from amqpstorm.uri_connection import UriConnection

from infra.local.servers import LocalServers
from pipeline.domain.states import FIRST_STATES, TRANSITIONS, Event, State
from tests.chaos.client import Wish
from tests.chaos.system import Part, System
from tests.support import eventually

JOBS = 400
KILLS = 8
PARTS = (Part("gateway"), Part("ingest"), *[Part("watcher")] * 2, Part("worker"))
ALL, DEAD = "everything", "the-dead"
STEPS = frozenset((before, after) for (before, _), after in TRANSITIONS.items())
Told = Mapping[str, Any]


@pytest_asyncio.fixture
async def system(private_servers: LocalServers, tmp_path: Path) -> AsyncIterator[System]:
    mutant = os.environ.get("DUEQ_CHAOS_MUTANT")
    async with System(private_servers.urls, tmp_path / "system", mutant) as system:
        await system.start(*PARTS)
        yield system


async def test_every_change_is_told_in_order_though_the_teller_is_killed_and_rabbitmq_restarts(
    system: System, private_servers: LocalServers
) -> None:
    listener = Listener(str(system.urls.amqp))
    async with asyncio.TaskGroup() as group:
        owners = group.create_task(_own(system))
        group.create_task(_kill(system))
        group.create_task(_restart_rabbitmq(private_servers))
    assert owners.result() == JOBS

    written = await eventually(lambda: _written_and_final(system), 120.0, every=0.5)
    told = await eventually(lambda: _all_told(listener, written), 60.0, every=0.5)

    assert {each["id"] for each in told} == written
    assert [_flaw(each) for each in _by_job(told).values() if _flaw(each)] == []
    _agree_with_the_executions(system, told)
    dead = {each["id"] for each in told if each["state"] == "dead"}
    assert dead
    assert {each["id"] for each in listener.told(DEAD)} == dead


# -- what happens ---------------------------------------------------------------------------------


async def _own(system: System) -> int:
    """Submit jobs that succeed, fail, die; cancel, redrive and delete some of them meanwhile."""
    chance = random.Random(JOBS)
    gateway = system.of("gateway")[0].url
    async with aiohttp.ClientSession(gateway) as session, asyncio.TaskGroup() as group:
        for number in range(JOBS):
            group.create_task(_one(session, number, random.Random(chance.random())))
            await asyncio.sleep(0.03)
    return JOBS


async def _one(session: aiohttp.ClientSession, number: int, chance: random.Random) -> None:
    failures = chance.choice((0, 0, 1, 9))
    body = Wish(seconds=0.02, failures=failures, later=chance.choice((0.0, 1.5))).body(0.0)
    body |= {"queue": "default", "name": f"job-{number}", "tags": ["chaos"]}
    body["retry"] |= {"max_attempts": 2, "base": 0.2}
    if body.pop("run_at", None):
        body["delay"] = 1.5
    job_id = (await _insist(session, "POST", "/api/jobs", json=body, key=f"events-{number}"))["id"]
    for act in chance.sample(("cancel", "retry", "delete", "wait", "wait"), k=3):
        await asyncio.sleep(chance.random() * 2)
        if act == "delete":
            await session.delete(f"/api/jobs/{job_id}")
        elif act != "wait":
            await session.post(f"/api/jobs/{job_id}/{act}")


async def _insist(session: aiohttp.ClientSession, method: str, path: str, **how: Any) -> Any:
    headers = {"Idempotency-Key": how.pop("key")}
    while True:
        async with session.request(method, path, headers=headers, **how) as answer:
            if answer.status == 202:
                return await answer.json()
        await asyncio.sleep(0.2)


async def _kill(system: System) -> None:
    """`kill -9` of a watcher; was it he who tells, the right runs out before anybody goes on."""
    chance = random.Random(7)
    for _ in range(KILLS):
        await asyncio.sleep(1.0 + chance.random() * 2)
        chance.choice(system.of("watcher")).kill()


async def _restart_rabbitmq(servers: LocalServers) -> None:
    assert servers.rabbitmq is not None
    await asyncio.sleep(6.0)
    await servers.rabbitmq.stop()
    await servers.rabbitmq.start()


# -- what was written -----------------------------------------------------------------------------


def _written_and_final(system: System) -> set[str]:
    """The ids of all state changes by the oplog, once nothing moves any more."""
    with _mongo(system) as database:
        moving = [State.PENDING, State.QUEUED, State.RUNNING]
        assert database.jobs.count_documents({"state": {"$in": moving}}) == 0
        assert database.jobs.count_documents({}) == JOBS
        oplog = database.client.local["oplog.rs"]
        return set(_ids(oplog.find({"ns": f"{database.name}.jobs"})))


def _ids(entries: Any) -> Iterator[str]:
    for entry in entries:
        document = entry["o"]
        diff = document.get("diff")
        fields = document if diff is None else {**diff.get("u", {}), **diff.get("i", {})}
        if entry["op"] in ("i", "u") and "state" in fields:
            job_id = entry["o2"]["_id"] if entry["op"] == "u" else document["_id"]
            ts = entry["ts"]
            yield f"{job_id}/{fields['state']}/{ts.time:010d}-{ts.inc:010d}"


def _agree_with_the_executions(system: System, told: Sequence[Told]) -> None:
    """After each `running` comes what the record of that attempt decided."""
    followed = {}
    for events in _by_job(told).values():
        for event, after in itertools.pairwise(events):
            if event["state"] == "running":
                followed[f"{event['job']}/{event['attempt']}"] = State(after["state"])
    with _mongo(system) as database:
        records = list(database.executions.find())
    assert records
    for record in records:
        decided = TRANSITIONS[State.RUNNING, Event(record["decision"]["event"])]
        assert followed[record["_id"]] is decided, record["_id"]


class _mongo:  # noqa: N801
    """The database of a system."""

    def __init__(self, system: System) -> None:
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(system.urls.mongo)

    def __enter__(self) -> "pymongo.database.Database[dict[str, Any]]":
        return self._client.get_default_database()

    def __exit__(self, *_: object) -> None:
        self._client.close()


# -- what was told --------------------------------------------------------------------------------


class Listener:
    """Two queues of somebody else's, bound before the first job."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._heard: dict[str, dict[str, Told]] = {ALL: {}, DEAD: {}}
        with UriConnection(url) as connection, connection.channel() as channel:
            for queue, key in ((ALL, "#"), (DEAD, "job.dead.#")):
                channel.queue.declare(queue, durable=True)
                channel.queue.bind(queue, "dueq.events", key)

    def told(self, queue: str) -> Sequence[Told]:
        """All that came so far, in order, each as it came first."""
        heard = self._heard[queue]
        with UriConnection(self._url) as connection, connection.channel() as channel:
            while message := channel.basic.get(queue, no_ack=True):
                told = _read(message)
                heard.setdefault(told["id"], told)
        return list(heard.values())


def _read(message: Any) -> Told:
    headers, body = message.properties["headers"], json.loads(message.body)
    return {
        "id": headers["ce-id"],
        "job": headers["ce-subject"],
        "state": headers["ce-type"].removeprefix("dueq.job."),
        "sequence": headers["ce-sequence"],
        "attempt": body["attempt"],
        "key": message.method["routing_key"],
    }


def _all_told(listener: Listener, written: set[str]) -> Sequence[Told]:
    told = listener.told(ALL)
    missing = written - {each["id"] for each in told}
    assert not missing, f"{len(missing)} missing, such as {sorted(missing)[:3]}"
    return told


def _by_job(told: Sequence[Told]) -> Mapping[str, Sequence[Told]]:
    jobs: dict[str, list[Told]] = defaultdict(list)
    for each in told:
        jobs[each["job"]].append(each)
    return jobs


def _flaw(events: Sequence[Told]) -> str | None:
    """What is wrong with the life of a job as it was told."""
    states = [State(event["state"]) for event in events]
    sequence = [event["sequence"] for event in events]
    attempts = [event["attempt"] for event in events]
    if states[0] not in FIRST_STATES:
        return f"begins as {states[0]}"
    if wrong := [step for step in itertools.pairwise(states) if step not in STEPS]:
        return f"no such step: {wrong}"
    if sequence != sorted(sequence) or attempts != sorted(attempts):
        return "out of order"
    if any(event["key"] != f"job.{event['state']}.default" for event in events):
        return "under another key"
    return None
