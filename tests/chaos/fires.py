"""Thousands of schedules in a real MongoDB, and what became of each of their fire times."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo

from pipeline.domain.identity import id_of_fire
from pipeline.domain.schedule import Overlap, Schedule
from pipeline.store.schedule_documents import from_schedule
from tests.builders import an_id
from tests.schedules import a_schedule

BATCH = 5_000


@dataclass(frozen=True)
class Plan:
    """So many schedules with so many seconds between their fires, until `ends`."""

    count: int
    every: int
    starts: datetime
    ends: datetime

    def schedules(self) -> Iterator[Schedule]:
        """Every policy of overlap, every second of the period."""
        overlaps = list(Overlap)
        for number in range(self.count):
            start = self.starts + timedelta(seconds=number % self.every)
            yield a_schedule(
                at=self.starts - timedelta(seconds=1),
                id=an_id(),
                every=self.every,
                overlap=overlaps[number % len(overlaps)].value,
                misfire="all",
                start_at=start.isoformat(),
                end_at=self.ends.isoformat(),
            )

    def fires_of(self, schedule: Schedule) -> set[datetime]:
        """By adding, not by the rule's own reckoning."""
        at, fires = schedule.spec.start_at, set()
        assert at is not None
        while at <= self.ends:
            fires.add(at)
            at += timedelta(seconds=self.every)
        return fires


class Fires:
    """A look into MongoDB with nothing of ours in between."""

    def __init__(self, mongo_url: str) -> None:
        self._client = pymongo.MongoClient[dict[str, Any]](mongo_url, tz_aware=True)
        self._database = self._client.get_default_database()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def now(self) -> datetime:
        """By MongoDB's clock."""
        told: datetime = self._database.command("hello")["localTime"]
        return told.replace(tzinfo=UTC)  # commands ignore `tz_aware`

    def store(self, schedules: Sequence[Schedule]) -> None:
        """All of them."""
        for start in range(0, len(schedules), BATCH):
            batch = [from_schedule(each) for each in schedules[start : start + BATCH]]
            self._database.schedules.insert_many(batch, ordered=False)

    def are_over(self) -> bool:
        """Whether no watcher will look at any schedule again, and no job is under way."""
        return (
            self._database.schedules.find_one({"look_at": {"$exists": True}}) is None
            and self._database.jobs.find_one({"state": {"$in": UNFINISHED}}) is None
        )

    def made(self) -> int:
        """How many jobs there are."""
        return self._database.jobs.estimated_document_count()

    def queued(self) -> int:
        """How many jobs have been queued."""
        return self._database.jobs.count_documents({"queued_at": {"$exists": True}})

    def queued_between(self) -> tuple[datetime, datetime]:
        """When the first and the last of them were."""
        both = {"$group": {"_id": 0, "a": {"$min": "$queued_at"}, "z": {"$max": "$queued_at"}}}
        (found,) = self._database.jobs.aggregate([both])
        return found["a"], found["z"]

    def lateness(self) -> list[float]:
        """Seconds from the fire time of each job until it was queued."""
        wanted = {"fire_time": 1, "queued_at": 1}
        jobs = self._database.jobs.find({"queued_at": {"$exists": True}}, wanted)
        return [(job["queued_at"] - job["fire_time"]).total_seconds() for job in jobs]

    def jobs(self) -> dict[str, list[datetime]]:
        """The fire times of all jobs by schedule; the id of each is checked."""
        times: dict[str, list[datetime]] = defaultdict(list)
        for job in self._database.jobs.find({}, {"schedule_id": 1, "fire_time": 1}):
            assert job["_id"] == id_of_fire(job["schedule_id"], job["fire_time"])
            times[job["schedule_id"]].append(job["fire_time"])
        return times

    def skips(self) -> dict[str, set[tuple[datetime, datetime]]]:
        """The spans that were written down, by schedule."""
        spans: dict[str, set[tuple[datetime, datetime]]] = defaultdict(set)
        for skip in self._database.skipped_fires.find():
            spans[skip["schedule_id"]].add((skip["first"], skip["last"]))
        return spans


UNFINISHED = ["pending", "queued", "running"]


def violations(plan: Plan, schedules: Sequence[Schedule], fires: Fires) -> list[str]:
    """What must not be: a fire time without a fate, a job of none, two jobs of one."""
    jobs, skips = fires.jobs(), fires.skips()
    found: list[str] = []
    for schedule in schedules:
        expected, made = plan.fires_of(schedule), Counter(jobs[schedule.id])
        spans = skips[schedule.id]
        skipped = {at for at in expected for first, last in spans if first <= at <= last}
        found += [f"{schedule.id}: {n} jobs of {at}" for at, n in made.items() if n != 1]
        found += [f"{schedule.id}: a job of {at}" for at in made.keys() - expected]
        found += [f"{schedule.id}: {at} is lost" for at in expected - made.keys() - skipped]
        if schedule.spec.overlap is Overlap.ALLOW:
            found += [f"{schedule.id}: {at} is skipped" for at in expected - made.keys()]
    return found
