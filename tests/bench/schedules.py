"""What schedules cost, measured on private servers: `python -m tests.bench.schedules`.

Moment: how long after its fire time a job is queued that cannot be stored ahead. Idle: 100,000
schedules of which none is due; the CPU of a watcher, and whether an index answers. Heap: 10,000
schedules that fire at the same instant; when their jobs are queued.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pymongo

from infra.local.servers import LocalServers, Urls
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.job import FIRST_INSTANT
from pipeline.domain.schedule import Schedule
from pipeline.store.job_store import MongoJobStore
from pipeline.watchers.scheduler import Scheduler
from tests.chaos.fires import Fires
from tests.chaos.system import Part, System
from tests.fakes.lease_queue import FakeLeaseQueue
from tests.schedules import a_schedule
from tests.servers import private_local_servers
from tests.support import eventually

IDLE, HEAP = 100_000, 10_000
IDLE_SECONDS = 20.0
STEPS = 500
HZ = os.sysconf("SC_CLK_TCK")
OVERLAPS = ("allow", "skip", "queue", "replace")


async def main() -> None:
    """Print one line a measurement."""
    async with private_local_servers() as local:
        await moment(local)
        await idle(local)
        for watchers in (1, 3):
            for overlap in OVERLAPS:
                await heap(local, watchers, overlap)


async def moment(local: LocalServers) -> None:
    """A few schedules on a quiet system."""
    url = mongo_url(local, "moment")
    async with running(local, url) as system:
        await system.start(Part("watcher"))
        fires = Fires(url)
        starts = fires.now() + timedelta(seconds=3)
        for number in range(7):
            at = (starts + number * timedelta(seconds=0.3)).isoformat()
            fires.store([a_schedule(at=starts, every=2, overlap="replace", start_at=at)])
        await asyncio.sleep(30)
        late = sorted(fires.lateness())
        p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
        tell(
            f"{len(late)} fires of 7 schedules, overlap replace: queued after their fire time "
            f"p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms, max {1000 * late[-1]:.1f} ms"
        )
        fires.close()


async def idle(local: LocalServers) -> None:
    """Nothing is due: with no schedules, then with many."""
    url = mongo_url(local, "idle")
    for count in (0, IDLE):
        store_idle(url, count)
        await steps(url, count)
        await watcher_at_rest(local, url, count)
    plans(url)


def store_idle(url: str, count: int) -> None:
    fires = Fires(url)
    now = fires.now()
    fires.store([a_schedule(at=now, every=86_400 + number) for number in range(count)])
    fires.close()


async def steps(url: str, count: int) -> None:
    clock = StoreClock()
    store = MongoJobStore(url, clock, SystemChance(), timedelta(seconds=10))
    await store.prepare()
    await clock.measure(store.server_time)
    scheduler = Scheduler(store.schedules, store, FakeLeaseQueue(clock), clock)
    await scheduler.step()
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        await scheduler.step()
    wall, cpu = time.perf_counter() - began, time.process_time() - spent
    tell(f"{count} idle: a step {1000 * wall / STEPS:.2f} ms, {1000 * cpu / STEPS:.2f} ms CPU")
    store.close()


async def watcher_at_rest(local: LocalServers, url: str, count: int) -> None:
    async with running(local, url) as system:
        (member,) = await system.start(Part("watcher"))
        await asyncio.sleep(3)
        before = cpu_of(member.pid)
        await asyncio.sleep(IDLE_SECONDS)
        share = (cpu_of(member.pid) - before) / IDLE_SECONDS
    tell(f"{count} idle: a whole watcher process uses {100 * share:.1f}% of a core")


def plans(url: str) -> None:
    """What MongoDB looks at for the two questions of a step."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        schedules = client.get_default_database().schedules
        now = datetime.fromisoformat("2020-01-01T00:00:00Z")
        first = schedules.find({"look_at": {"$gte": FIRST_INSTANT}}, {"_id": 0, "look_at": 1})
        due = schedules.find({"look_at": {"$lte": now}}, {"_id": 1})
        for name, cursor in (("next_look_at", first.limit(1)), ("to_look_at", due)):
            stats = cursor.sort("look_at", 1).explain()["executionStats"]
            stages = " < ".join(stages_of(stats["executionStages"]))
            keys, documents = stats["totalKeysExamined"], stats["totalDocsExamined"]
            tell(f"{IDLE} idle: {name}: {keys} keys, {documents} documents examined; {stages}")


def stages_of(stage: dict[str, Any]) -> Sequence[str]:
    inner = stages_of(stage["inputStage"]) if "inputStage" in stage else []
    return [stage["stage"], *inner]


async def heap(local: LocalServers, watchers: int, overlap: str) -> None:
    """All of them fire in one instant."""
    url = mongo_url(local, f"heap_{watchers}_{overlap}")
    async with running(local, url) as system:
        members = await system.start(*[Part("watcher")] * watchers)
        fires = Fires(url)
        at = fires.now().replace(microsecond=0) + timedelta(seconds=15)
        fires.store([fires_at(at, overlap) for _ in range(HEAP)])
        before = sum(cpu_of(member.pid) for member in members)
        await eventually(lambda: fires.queued() == HEAP, 90, every=0.2)
        spent = sum(cpu_of(member.pid) for member in members) - before
        first, last = fires.queued_between()
        tell(
            f"{HEAP} at once, overlap {overlap}, watchers {watchers}: queued from "
            f"{(first - at).total_seconds():+.2f} s to {(last - at).total_seconds():+.2f} s "
            f"of the fire time; watchers {spent:.1f} s CPU"
        )
        fires.close()


def fires_at(at: datetime, overlap: str) -> Schedule:
    start = at.isoformat()
    return a_schedule(at=at - timedelta(seconds=60), every=3600, start_at=start, overlap=overlap)


# -- the surroundings


@asynccontextmanager
async def running(local: LocalServers, mongo: str) -> AsyncIterator[System]:
    """Processes on these servers, with a database of their own."""
    with tempfile.TemporaryDirectory(prefix="dueq-bench-") as folder:
        urls = Urls(local.urls.amqp, mongo, local.urls.redis)
        async with System(urls, Path(folder)) as system:
            yield system


def mongo_url(local: LocalServers, database: str) -> str:
    """Of a fresh database."""
    return urlunsplit(urlsplit(local.urls.mongo or "")._replace(path=f"/{database}"))


def cpu_of(pid: int) -> float:
    """Seconds that a process has used, in user and kernel mode."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / HZ


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
