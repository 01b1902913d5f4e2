"""What a page of jobs costs when many are stored. `--long`: a million; no time is judged here.

Asked of a real gateway on a real MongoDB, in this process: the query, the decoding, the attempts of
the page and the rendering are in the figures, the network is not.
"""

import random
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter, process_time
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.cursor import write_cursor
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.execution import ErrorInfo, Failed, Succeeded, conclude
from pipeline.domain.job import Job, Submission
from pipeline.ports import Claim, JobFilter
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_submission
from tests.gateway_world import GatewayWorld, gateway_world

pytestmark = pytest.mark.bench

DAYS, BATCH, LIMIT = 30, 1_000, 50
SHORT, LONG = 3_000, 1_000_000
FATAL = Failed(ErrorInfo("Boom", "it broke"), retryable=False)
WORDS = [
    f"{when}-{what}-{number}"
    for number in range(10)
    for when in ("nightly", "hourly", "sync", "mail", "import")
    for what in ("report", "users", "orders", "billing", "export", "stats")
]
SCHEDULES = [f"00000000-0000-5000-8000-{number:012x}" for number in range(200)]
FIRST, WORST = 0.5, 0.99


def rank(number: int) -> list[float]:
    """The first is the most common, as words are."""
    return [1 / place for place in range(1, number + 1)]


KINDS: dict[str, dict[str, Any]] = {
    "task": {"payload": {"order": 1, "note": "x" * 80}},
    "http": {"http": {"url": "https://example.org/hook", "method": "POST", "body": {"n": 1}}},
    "command": {"command": "echo hello"},
    "amqp": {"amqp": {"routing_key": "x", "body": 1}},
}
FATES = ("succeeded", "dead", "cancelled", "pending", "buried", "queued", "running")
OLD_FATES = (92.5, 3, 1, 2.5, 1, 0, 0)
NEW_FATES = (72.5, 3, 1, 2.5, 1, 15, 5)


@dataclass
class History:
    """Jobs of thirty days, in every state; many share an instant, as those of a batch do."""

    store: MongoJobStore
    clock: StoreClock
    jobs: int
    chance: random.Random

    async def write(self) -> None:
        end = self.clock.now()
        for first in range(0, self.jobs, BATCH):
            age = timedelta(days=DAYS) * (1 - first / self.jobs)
            await self._write(end - age, first)

    async def _write(self, at: datetime, first: int) -> None:
        is_new = first >= self.jobs * 0.98
        fates: defaultdict[str, list[Submission]] = defaultdict(list)
        for number in range(first, min(first + BATCH, self.jobs)):
            (fate,) = self.chance.choices(FATES, NEW_FATES if is_new else OLD_FATES)
            fates[fate].append(self._job(at, number, fate))
        everything = [job for jobs in fates.values() for job in jobs]
        await self.store.insert(everything, self.clock.now())
        gone = [job.id for job in fates["cancelled"] + fates["buried"]]
        await self.store.cancel_waiting_many(gone, JobFilter())
        await self.store.bury_many([job.id for job in fates["buried"]], JobFilter())
        await self._start(fates["running"])
        for fate, ending in (("succeeded", Succeeded(result={"n": 1})), ("dead", FATAL)):
            now = self.clock.now()
            started = await self._start(fates[fate])
            records = [conclude(job, ending, finished_at=now, lot=0.0) for job in started]
            if records:
                await self.store.settle(await self.store.record(records))

    def _job(self, at: datetime, number: int, fate: str) -> Submission:
        """Half of the batch came at one instant."""
        chance = self.chance
        (queue,) = chance.choices(["default", "eu", "mail"], [60, 25, 15])
        (kind,) = chance.choices(list(KINDS), [70, 25, 4.9, 0.1])
        body: dict[str, Any] = {**KINDS[kind], "queue": "audit" if number % 10_000 == 77 else queue}
        if (lot := chance.random()) < 0.7:
            body["name"] = chance.choices(WORDS, rank(300))[0] if lot < 0.6 else f"order-{number}"
        if chance.random() < 0.5:
            body["tags"] = [f"tag{n}" for n in set(chance.choices(range(50), rank(50), k=2))]
        if number % 10_000 == 333:
            body["tags"] = ["vip"]
        if fate == "pending":
            body["delay"] = 60.0 * 86_400
        if number % 2:
            at += timedelta(milliseconds=number % BATCH)
        job = a_submission(id=SystemChance().job_id(), at=at, **body)
        return replace(job, schedule_id=chance.choice(SCHEDULES) if number % 5 == 0 else None)

    async def _start(self, jobs: Sequence[Submission]) -> list[Job]:
        by_queue: defaultdict[str, list[str]] = defaultdict(list)
        for job in jobs:
            by_queue[job.spec.queue].append(job.id)
        started: list[Job] = []
        for queue, ids in by_queue.items():
            now = self.clock.now()
            claim = Claim(queue, SystemChance().token(), "worker-1", now, now)
            started += await self.store.start(ids, claim)
        return started


ASKED: dict[str, dict[str, Any]] = {
    "all": {},
    "queue, 25 %": {"queue": "eu"},
    "queue, 60 %, the usual one": {"queue": "default"},
    "queue, 0.01 %": {"queue": "audit"},
    "queue, none": {"queue": "nobody"},
    "kind, 70 %, the usual one": {"kind": "task"},
    "kind, 25 %": {"kind": "http"},
    "kind, 0.1 %": {"kind": "amqp"},
    "tag, 10 %": {"tag": "tag0"},
    "tag, 0.01 %": {"tag": "vip"},
    "name, 9 %": {"name": WORDS[0]},
    "name, 1 job": {"name": "order-777"},
    "schedule, 0.1 %": {"schedule_id": SCHEDULES[7]},
    "q, 25 %": {"q": "nightly"},
    "q, 1 %": {"q": "order-1"},
    "q, 0.1 %": {"q": "order-77"},
    "q, none": {"q": "nobody"},
    "created within a day": {"created": 1},
    **{f"status={word}": {"status": word} for word in FATES if word != "buried"},
    "not ended": {"status": ["pending", "queued", "running"]},
    "succeeded or dead": {"status": ["succeeded", "dead"]},
    "usual queue and dead": {"queue": "default", "status": "dead"},
    "rare queue and succeeded": {"queue": "audit", "status": "succeeded"},
    "tag and rare queue": {"tag": "tag0", "queue": "audit"},
    "tag and rare kind": {"tag": "tag0", "kind": "amqp"},
    "tag, queue and dead": {"tag": "tag0", "queue": "eu", "status": "dead"},
    "q, queue and kind": {"q": "nightly", "queue": "eu", "kind": "http"},
    "q and dead": {"q": "order-7", "status": "dead"},
    "usual kind and tag": {"kind": "task", "tag": "tag49"},
    "usual kind and usual queue": {"kind": "task", "queue": "default"},
}


@pytest.fixture
async def crowded(mongo_url: str, long_form: bool) -> AsyncIterator[tuple[GatewayWorld, datetime]]:
    """A gateway in front of a MongoDB that has seen much."""
    clock = StoreClock()
    store = MongoJobStore(mongo_url, clock, SystemChance(), timedelta(seconds=10))
    await store.prepare()
    await clock.measure(store.server_time)
    await History(store, clock, LONG if long_form else SHORT, random.Random(5)).write()
    async with gateway_world() as world:
        deps = world.app.state.deps
        world.app.state.deps = replace(deps, store=store, clock=clock)
        yield world, clock.now()
    store.close()


@pytest.mark.timeout(3600)
async def test_every_kind_of_page_answers_and_holds_what_was_asked_for(
    crowded: tuple[GatewayWorld, datetime], long_form: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    world, now = crowded
    chance = random.Random(7)
    lines = [f"{'ms':30} {'first':>7} {'p50':>7} {'p99':>7} {'CPU':>6} {'jobs':>5} {'short':>5}"]
    for what, asked in ASKED.items():
        taken, cpu, short, jobs = [], process_time(), 0, 0
        rounds = 100 if long_form else 4
        for number in range(rounds):
            path = f"/api/jobs?{urlencode(_query(asked, number, now, chance), doseq=True)}"
            began = perf_counter()
            answer = await world.get(path)
            taken.append((perf_counter() - began) * 1000)
            assert answer.status == 200, answer.body
            items = answer.json["items"]
            assert all(_fits(item, asked) for item in items), path
            short += len(items) < LIMIT and answer.json["next_cursor"] is not None
            jobs += len(items)
        cpu = (process_time() - cpu) * 1000 / rounds
        times = sorted(taken)
        p50, p99 = times[int(rounds * FIRST)], times[int(rounds * WORST)]
        lines.append(
            f"{what:30} {taken[0]:7.1f} {p50:7.1f} {p99:7.1f} {cpu:6.1f} "
            f"{jobs / rounds:5.0f} {short:5}"
        )
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *lines, ""]))


def _query(
    asked: dict[str, Any], number: int, now: datetime, chance: random.Random
) -> dict[str, Any]:
    """Every other page is a deep one, somewhere in the thirty days."""
    query = {**asked, "limit": LIMIT}
    deep = now - timedelta(days=DAYS) * chance.random()
    if "created" in asked:
        query.pop("created")
        query["created_after"] = (deep - timedelta(days=1)).isoformat()
        query["created_before"] = deep.isoformat()
    elif number % 2:
        cursor = write_cursor((deep, SystemChance().job_id()))
        query["cursor"] = cursor
    return query


def _fits(item: dict[str, Any], asked: dict[str, Any]) -> bool:
    status = asked.get("status", item["status"])
    return (
        item["status"] in ([status] if isinstance(status, str) else status)
        and asked.get("queue", item["queue"]) == item["queue"]
        and asked.get("kind", item["kind"]) == item["kind"]
        and asked.get("name", item["name"]) == item["name"]
        and asked.get("schedule_id", item["schedule_id"]) == item["schedule_id"]
        and ("tag" not in asked or asked["tag"] in item["tags"])
        and (item["name"] or "").startswith(asked.get("q", ""))
    )
