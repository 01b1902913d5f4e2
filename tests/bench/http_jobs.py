"""What http jobs cost, measured on private servers: `python -m tests.bench.http_jobs [JOBS]`.

One worker process, one target on this machine in a process of its own. Well: from the first request
to the last job recorded as succeeded. Sick: the same jobs for a target that is down; how fast they
are put off, and that nothing but a few requests was sent.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pymongo

from infra.local.servers import LocalServers
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.body import read_spec
from pipeline.domain.job import Submission
from pipeline.queue.lease_queue import RedisLeaseQueue
from pipeline.store.job_store import MongoJobStore
from tests.bench.schedules import cpu_of, mongo_url, running, tell
from tests.chaos.system import Member, Part
from tests.servers import private_local_servers

JOBS, CONCURRENCY = 15_000, 200
ANSWER = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Target(asyncio.Protocol):
    """As little of a server as there can be: one answer to each request of a connection."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(self._answer)


def serve(status: int, port: Any) -> None:
    """In a process of its own."""

    async def forever() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Target(ANSWER % status), "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(forever())


async def main(jobs: int) -> None:
    """Print one line a measurement."""
    os.environ["DUEQ_HTTP_ALLOW"] = "127.0.0.0/8"
    async with private_local_servers() as local:
        await measure(local, jobs, 200, "well")
        await measure(local, jobs, 503, "sick")


async def measure(local: LocalServers, jobs: int, status: int, name: str) -> None:
    """So many jobs, queued before the worker starts."""
    port = multiprocessing.Value("i", 0)
    target = multiprocessing.Process(target=serve, args=(status, port), daemon=True)
    target.start()
    url = mongo_url(local, f"http_{name}")
    async with (
        stored(local, url, jobs, lambda: f"http://127.0.0.1:{port.value}/"),
        running(local, url) as system,
    ):
        part = Part("worker", concurrency=CONCURRENCY, lease_seconds=30)
        (worker,) = await system.start(part)
        await watch(url, worker, target.pid or 0, name)
    target.kill()


async def watch(url: str, worker: Member, target: int, name: str) -> None:
    """Until all are done; the worker was ready a moment ago."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        begun, cpu, base = time.monotonic(), cpu_of(worker.pid), count(database)
        counts = base
        while counts.get("queued") or counts.get("running"):
            await asyncio.sleep(0.1)
            counts = count(database)
        took = time.monotonic() - begun
        moved = sum(counts.get(s, 0) - base.get(s, 0) for s in ("succeeded", "pending", "dead"))
        spent = cpu_of(worker.pid) - cpu
        tell(
            f"{name}: {moved} jobs in {took:.1f} s: {moved / took:.0f}/s; worker "
            f"{1000 * spent / max(moved, 1):.2f} ms CPU a job, target {cpu_of(target):.1f} s CPU; "
            f"{counts}; worker at most {memory_of(worker.pid)} MiB"
        )


def count(database: Any) -> dict[str, int]:
    """Jobs by state."""
    groups = database.jobs.aggregate([{"$group": {"_id": "$state", "n": {"$sum": 1}}}])
    return {each["_id"]: each["n"] for each in groups}


def memory_of(pid: int) -> int:
    """The most that a process ever had."""
    with open(f"/proc/{pid}/status") as file:  # noqa: PTH123
        (line,) = (line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


@asynccontextmanager
async def stored(
    local: LocalServers, mongo: str, jobs: int, url: Callable[[], str]
) -> AsyncIterator[None]:
    """Jobs that wait in MongoDB and in Redis."""
    clock, chance = StoreClock(), SystemChance()
    store = MongoJobStore(mongo, clock, chance, timedelta(seconds=30))
    await store.prepare()
    await clock.measure(store.server_time)
    async with RedisLeaseQueue(local.urls.redis or "", clock, chance) as queue:
        while url().endswith(":0/"):
            await asyncio.sleep(0.05)
        body = {"http": {"url": url()}, "retry": {"max_attempts": 1}}
        model = Submission(chance.job_id(), clock.now(), read_spec(body), body)
        for submissions in parts([replace(model, id=chance.job_id()) for _ in range(jobs)]):
            await store.insert(submissions, clock.now() + timedelta(seconds=1))
            await queue.add([each.entry for each in submissions])
        yield
    store.close()


def parts(submissions: Sequence[Submission]) -> Sequence[Sequence[Submission]]:
    return [submissions[start : start + 1000] for start in range(0, len(submissions), 1000)]


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else JOBS))
