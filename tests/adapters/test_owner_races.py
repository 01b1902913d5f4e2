"""Everything that owners can ask of jobs, at random and at once, against dispatchers and workers on
a real MongoDB."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pymongo
import pytest

from pipeline import operator
from pipeline.bulk import Bulk
from pipeline.clock import StoreClock
from pipeline.domain.errors import Conflict, NotFound
from pipeline.domain.execution import Ending, ErrorInfo, Failed, Released, Succeeded, conclude
from pipeline.domain.job import Job
from pipeline.domain.states import FINAL_STATES, TRANSITIONS, State
from pipeline.ending import end
from pipeline.ports import Claim, JobFilter, Lease
from pipeline.store.connect import Document
from pipeline.store.job_store import MongoJobStore
from pipeline.watchers.dispatcher import Dispatcher
from tests.builders import a_submission
from tests.fakes.clock import SeededChance
from tests.fakes.lease_queue import FakeLeaseQueue

JOBS, ASKS, OWNERS, WORKERS = 60, 60, 8, 3
LOOKAHEAD = timedelta(seconds=0.2)
TTL = timedelta(seconds=30)
PATIENCE = timedelta(seconds=10)
ALIVE = frozenset(State) - FINAL_STATES - {State.BURIED}
BOOM = Failed(ErrorInfo("Boom", "it broke"))


@dataclass
class Told:
    """What owners were told was done to a job."""

    changes: set[str] = field(default_factory=set)
    deleted: bool = False


class System:
    """Owners, dispatchers and workers on one MongoDB."""

    def __init__(self, store: MongoJobStore, clock: StoreClock, seed: int) -> None:
        self.store, self.clock = store, clock
        self.queue = FakeLeaseQueue(clock)
        self.chance = random.Random(seed)
        self.told: dict[str, Told] = {}
        self.over = asyncio.Event()
        self.seen_running: dict[str, set[int]] = {}

    async def submit(self) -> None:
        now = self.clock.now()
        jobs = [
            a_submission(
                at=now, payload={"n": n}, tags=[f"t{n % 5}"], retry={"base": 0.05},
                delay=self.chance.choice([0, 0.1, 0.3, 0.5, 3600]),
            )
            for n in range(JOBS)
        ]  # fmt: skip
        await self.store.insert(jobs, now)
        await self.queue.add([job.entry for job in jobs if job.due_at <= now])
        self.told = {job.id: Told() for job in jobs}

    # -- those who work

    async def dispatcher(self) -> None:
        dispatcher = Dispatcher(self.store, self.queue, LOOKAHEAD)
        while not self.over.is_set():
            await dispatcher.step()
            await asyncio.sleep(self.chance.random() * 0.02)

    async def worker(self, name: str) -> None:
        number = 0
        while not self.over.is_set():
            number += 1
            lease_id = f"{name}-{number}"
            grant = await self.queue.lease(
                "default", worker=name, lease_id=lease_id, limit=5, ttl=TTL
            )
            await asyncio.sleep(self.chance.random() * 0.02)
            claim = Claim("default", lease_id, name, grant.judged_at, self.clock.now())
            won = await self.store.start(grant.job_ids, claim) if grant.job_ids else []
            await asyncio.sleep(self.chance.random() * 0.02)
            for job in won:
                attempts = self.seen_running.setdefault(job.id, set())
                assert job.attempt not in attempts, "one attempt ran twice"
                assert job.due_at <= grant.judged_at, "it started before it was due"
                attempts.add(job.attempt)
                await self.finish(job)
            lost = set(grant.job_ids) - {job.id for job in won}
            await self.queue.ack([Lease(each, "default", name, lease_id) for each in lost])

    async def finish(self, job: Job) -> None:
        endings: list[Ending] = [Succeeded(job.spec.payload), BOOM, Released()]
        (ending,) = self.chance.choices(endings, [1, 3, 3])  # of who succeeds nobody asks more
        assert job.worker
        assert job.lease_id
        lease = Lease(job.id, "default", job.worker, job.lease_id)
        record = conclude(job, ending, finished_at=self.clock.now(), lot=0.5)
        await end([record], [lease], self.store, self.queue)

    # -- those who ask

    async def owner(self, number: int) -> None:
        for ask in range(ASKS):
            job_id = self.chance.choice(list(self.told))
            things: list[Callable[[], Awaitable[object]]] = [
                lambda: self.change(job_id, {"payload": {f"c{number}-{ask}": True}}),  # noqa: B023
                lambda: self.change(
                    job_id,  # noqa: B023
                    {"payload": {f"c{number}-{ask}": True}, "delay": self.chance.random() / 2},  # noqa: B023
                ),
                lambda: operator.run_now(job_id, self.store, self.queue, self.clock),  # noqa: B023
                lambda: operator.cancel(job_id, self.store, self.clock),  # noqa: B023
                lambda: operator.redrive(job_id, self.store, self.queue),  # noqa: B023
                lambda: self.many(),
                lambda: self.delete(job_id),  # noqa: B023
            ]
            weights = [6, 6, 3, 2, 3, 1, 0.3]
            (thing,) = self.chance.choices(things, weights)
            with suppress(Conflict, NotFound):
                await thing()

    async def change(self, job_id: str, patch: dict[str, Any]) -> None:
        after = await operator.change(job_id, patch, self.store, self.queue, self.clock)
        (mark,) = patch["payload"]
        assert after.spec.payload[mark] is True
        self.told[job_id].changes.add(mark)

    async def delete(self, job_id: str) -> None:
        await operator.bury(job_id, self.store)
        self.told[job_id].deleted = True

    async def many(self) -> None:
        bulk = Bulk(self.store, self.queue, self.clock, timedelta(seconds=20))
        some = JobFilter(tag=f"t{self.chance.randrange(5)}")
        await (bulk.cancel if self.chance.random() < 0.3 else bulk.redrive)(some, 1000)

    async def until_all_have_ended(self) -> None:
        """Asked job by job: a list walks state by state and may miss one that moves meanwhile."""
        while left := await self._alive():
            for job_id in left:
                with suppress(Conflict, NotFound):
                    await operator.run_now(job_id, self.store, self.queue, self.clock)
            await asyncio.sleep(0.05)
        self.over.set()

    async def _alive(self) -> list[str]:
        jobs = await self.store.get_many(list(self.told))
        return [job.id for job in jobs.values() if job.state in ALIVE]


@pytest.mark.parametrize("seed", range(3))
async def test_no_change_is_lost_and_no_job_ends_as_the_table_does_not_know(
    mongo_url: str, seed: int
) -> None:
    """A change that was told is part of what ran: the result is what the job was given. Every state
    that a job was ever seen in is followed only by one that the table has."""
    clock = StoreClock()
    with closing(MongoJobStore(mongo_url, clock, SeededChance(seed), PATIENCE)) as store:
        await store.prepare()
        await clock.measure(store.server_time)
        await _run_and_check(System(store, clock, seed), mongo_url)


async def _run_and_check(system: System, mongo_url: str) -> None:
    with pymongo.MongoClient[Document](mongo_url) as client:
        jobs = client.get_default_database().jobs
        with jobs.watch(full_document="updateLookup") as stream:
            await _run(system)
            # The stream tells every write in order; what it says of `state` is the write's own.
            states = dict.fromkeys(system.told, State.PENDING)
            first = set(system.told)
            while (change := stream.try_next()) is not None:
                _follow(change, states, first)
        assert sum(len(told.changes) for told in system.told.values()) > JOBS
        assert sum(map(len, system.seen_running.values())) > JOBS
        for job_id, told in system.told.items():
            document = jobs.find_one({"_id": job_id})
            records = list(client.get_default_database().executions.find({"job_id": job_id}))
            _check(document or {}, records, told)


async def _run(system: System) -> None:
    await system.submit()
    async with asyncio.TaskGroup() as group:
        group.create_task(system.dispatcher())
        group.create_task(system.dispatcher())
        for number in range(WORKERS):
            group.create_task(system.worker(f"w{number}"))
        async with asyncio.TaskGroup() as owners:
            for number in range(OWNERS):
                owners.create_task(system.owner(number))
        await asyncio.wait_for(system.until_all_have_ended(), 60)


def _follow(change: Any, states: dict[str, State], first: set[str]) -> None:
    """One write, held against the table."""
    job_id = change["documentKey"]["_id"]
    match change["operationType"]:
        case "insert" | "replace":
            after = State(change["fullDocument"]["state"])
        case "update":
            updated = change["updateDescription"]["updatedFields"]
            after = State(updated.get("state", states[job_id]))
        case other:
            raise AssertionError(other)
    before, states[job_id] = states[job_id], after
    if job_id in first:
        first.discard(job_id)
    elif after is not before or before in FINAL_STATES:
        pairs = {(source, target) for (source, _), target in TRANSITIONS.items()}
        assert (before, after) in pairs, f"{job_id}: {before} to {after}"


def _check(document: Document, records: list[Document], told: Told) -> None:
    if told.deleted:
        assert document["state"] == State.BURIED
        assert records == []
        return
    payload = document["spec"]["payload"]
    assert told.changes <= payload.keys(), "a change was lost"
    assert document["state"] in FINAL_STATES
    assert {record["attempt"] for record in records} == set(range(1, document["attempt"] + 1))
    succeeded = [record for record in records if record["outcome"] == "succeeded"]
    if document["state"] == State.SUCCEEDED:
        (last,) = succeeded
        assert last["attempt"] == document["attempt"]
        assert last["result"] == payload, "it ran as something else than was asked for"
    else:
        assert succeeded == []
