"""Everything that an owner can ask of a job, at random and at once, while real workers run them."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pymongo
import pytest

from infra.cli.client import Gateway
from infra.exits import CommandFailed, Exit
from pipeline.domain.states import FINAL_STATES, VISIBLE_STATES, State
from tests.e2e.running import Up
from tests.support import eventually

JOBS, ASKS, HANDS = 150, 900, 8
NAME = "raced"
THINGS = ("change", "change", "change", "later", "run", "cancel", "retry", "delete", "many")
HARMLESS = {Exit.CONFLICT, Exit.NOT_FOUND}


@dataclass
class Told:
    """What the gateway said was done to a job."""

    changes: set[str] = field(default_factory=set)
    deleted: bool = False


@dataclass
class Race:
    """Many hands on the same jobs; what each was told is written down."""

    gateway: Gateway
    told: dict[str, Told]

    def ask(self, number: int) -> None:
        """One thing, at random; that the job does not allow it (any more) is an answer too."""
        chance = random.Random(number)
        job_id = chance.choice(list(self.told))
        try:
            self._ask(chance, job_id, f"c{number}")
        except CommandFailed as failure:
            assert failure.code in HARMLESS, failure

    def _ask(self, chance: random.Random, job_id: str, mark: str) -> None:
        path = f"/api/jobs/{job_id}"
        match chance.choice(THINGS):
            case "change":
                self._change(job_id, {"payload": {mark: True}}, mark)
            case "later":
                delay = chance.random() * 2
                self._change(job_id, {"payload": {mark: True}, "delay": delay}, mark)
            case "run":
                self.gateway.post(f"{path}/run")
            case "cancel":
                assert self.gateway.post(f"{path}/cancel")["status"] == State.CANCELLED
            case "retry":
                self.gateway.post(f"{path}/retry")
            case "delete":
                if chance.random() < 0.2:
                    self.gateway.delete(path)
                    self.told[job_id].deleted = True
            case "many":
                verb = chance.choice(["cancel", "retry"])
                some = {"name": NAME, "tag": f"t{chance.randrange(10)}"}
                self.gateway.post(f"/api/jobs/{verb}", {"filter": some})

    def _change(self, job_id: str, patch: dict[str, Any], mark: str) -> None:
        after = self.gateway.patch(f"/api/jobs/{job_id}", patch)
        assert after["payload"][mark] is True
        self.told[job_id].changes.add(mark)


@pytest.fixture
def race(system: Up) -> Race:
    gateway = Gateway(system.http)
    chance = random.Random(1)
    jobs = [
        {"payload": {"n": number}, "name": NAME, "tags": [f"t{number % 10}"],
         "delay": chance.choice([0.5, 1, 2, 3, 3600])}
        for number in range(JOBS)
    ]  # fmt: skip
    ids = gateway.post("/api/jobs/batch", jobs)["ids"]
    return Race(gateway, {job_id: Told() for job_id in ids})


async def test_no_change_is_lost_and_no_job_ends_as_the_table_does_not_know(
    system: Up, race: Race
) -> None:
    """A change that was answered with 200 is part of what ran: `echo` returns what it was given, so
    a job's result tells. A job that was deleted stays deleted, and leaves no record behind."""
    with ThreadPoolExecutor(HANDS) as hands:
        list(hands.map(race.ask, range(ASKS)))
    await eventually(lambda: _all_ended(race), timeout=60, every=0.3)
    with pymongo.MongoClient[dict[str, Any]](str(system.line["mongo"])) as client:
        database = client.get_default_database()
        for job_id, told in race.told.items():
            document = database.jobs.find_one({"_id": job_id})
            records = list(database.executions.find({"job_id": job_id}).sort("attempt"))
            assert document is not None
            if told.deleted:
                assert document["state"] == State.BURIED
                assert records == []
            else:
                _check(document, records, told)


def _all_ended(race: Race) -> bool:
    """What still waits for an hour is run now."""
    call = {"filter": {"name": NAME, "status": sorted(VISIBLE_STATES - FINAL_STATES)}}
    waiting = race.gateway.get("/api/jobs", {**call["filter"], "limit": 500})["items"]
    for job in waiting:
        try:
            race.gateway.post(f"/api/jobs/{job['id']}/run")
        except CommandFailed as failure:
            assert failure.code in HARMLESS, failure
    assert not waiting, [(job["id"], job["status"], job["due_at"]) for job in waiting]
    return True


def _check(document: dict[str, Any], records: list[dict[str, Any]], told: Told) -> None:
    payload = document["spec"]["payload"]
    assert told.changes <= payload.keys(), "a change was lost"
    assert document["state"] in FINAL_STATES
    assert [record["attempt"] for record in records] == list(range(1, document["attempt"] + 1))
    if document["state"] == State.SUCCEEDED:
        assert records[-1]["outcome"] == "succeeded"
        assert records[-1]["result"] == payload, "it ran as something else than was asked for"
    else:
        assert not [record for record in records if record["outcome"] == "succeeded"]
