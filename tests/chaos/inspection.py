"""What DueQ tells in the end over HTTP, and what a look into MongoDB and Redis shows on the way."""

import asyncio
import time
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp
import pymongo
import redis

from infra.local.servers import Urls
from tests.chaos.checker import FINAL
from tests.chaos.history import Ended, Orphan, Told
from tests.chaos.system import Member
from tests.support import eventually

PAGE = 500
AT_ONCE = 20
AGAIN_SECONDS = 0.25


class Reader:
    """Reads jobs and executions from a gateway."""

    def __init__(self, gateway: str) -> None:
        self._url = gateway
        self._session = aiohttp.ClientSession()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def all_final(self, wanted: Collection[str], queue: str) -> bool:
        """Whether nothing of this queue is unfinished, and all of `wanted` are among it."""
        if await self._unfinished(queue):
            return False
        statuses = {job["id"]: job["status"] for job in await self._jobs(queue)}
        return all(statuses.get(job_id) in FINAL for job_id in wanted)

    async def told(self, queue: str) -> dict[str, Told]:
        """Every job there is, with its executions."""
        jobs = await self._jobs(queue)
        stories = await asyncio.gather(*(self._told(job) for job in jobs))
        return {told.job_id: told for told in stories}

    async def _unfinished(self, queue: str) -> bool:
        states = [("status", status) for status in ("pending", "queued", "running")]
        page = await self._get("/api/jobs", [*states, ("queue", queue), ("limit", "1")])
        return bool(page["items"])

    async def _jobs(self, queue: str) -> Sequence[dict[str, Any]]:
        jobs: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            place = [("cursor", cursor)] if cursor else []
            page = await self._get("/api/jobs", [("limit", str(PAGE)), ("queue", queue), *place])
            jobs += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return jobs

    async def _told(self, job: dict[str, Any]) -> Told:
        async with self._room:
            answer = await self._get(f"/api/jobs/{job['id']}/executions", [])
        executions = [Ended(one["attempt"], one["outcome"]) for one in answer["items"]]
        return Told(job["id"], job["status"], job["attempt"], executions)

    async def _get(self, path: str, query: Sequence[tuple[str, str]]) -> Any:
        async with self._session.get(self._url + path, params=list(query)) as reply:
            assert reply.status == 200, f"{reply.status} {await reply.text()}"
            return await reply.json()


class Inside:
    """A look into the stores, past DueQ. Short questions to servers of this machine: it blocks."""

    def __init__(self, urls: Urls) -> None:
        self._mongo: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(urls.mongo)
        self._database = self._mongo.get_default_database()
        self._redis = redis.Redis.from_url(urls.redis or "", decode_responses=True)

    def close(self) -> None:
        """Close the connections."""
        self._mongo.close()
        self._redis.close()

    def introduce(self, queue: str) -> None:
        """Name a queue before it has jobs: what a reconciler does at first sight is then over."""
        self._database.queues.update_one({"_id": queue}, {"$set": {"_id": queue}}, upsert=True)

    def is_known(self, queue: str) -> bool:
        """Whether a reconciler has seen it."""
        return self._redis.get(f"dueq:{{{queue}}}:generation") is not None

    def orphans(self, queue: str, worker: str) -> Sequence[Orphan]:
        """Recorded by this dead worker, not settled, and nowhere in Redis: no reaper meets them.

        Not recorded ones do not count. They may be absent for a moment in good order: a reconciler
        may add a job whose start is under way, another worker leases that member too, loses the
        start and drops the lease; the next heartbeat writes it again (R8).
        """
        running = self._unsettled(worker)
        known = {job_id for members in self.waiting(queue).values() for job_id in members}
        return [Orphan(job_id, attempt) for job_id, attempt in running if job_id not in known]

    def waiting(self, queue: str) -> dict[str, list[str]]:
        """The members of every set of this queue."""
        keys = [f"dueq:{{{queue}}}:{name}" for name in ("ready", "delayed", "leased")]
        return {key: self._members(key) for key in keys}

    def worker_id(self, pid: int) -> str | None:
        """The id of this worker process, once it has sent its first heartbeat."""
        for key in self._redis.scan_iter("dueq:worker:*"):
            if self._redis.hget(key, "pid") == str(pid):
                return str(key).removeprefix("dueq:worker:")
        return None

    def is_busy(self, pid: int) -> bool:
        """Whether this worker runs jobs at this moment."""
        worker = self.worker_id(pid)
        return worker is not None and bool(self._running_on(worker))

    def flush(self) -> None:
        """FLUSHALL: only on a Redis that the test has started itself."""
        self._redis.flushall()

    def _unsettled(self, worker: str) -> set[tuple[str, int]]:
        running = self._running_on(worker)
        ids = [f"{job_id}/{attempt}" for job_id, attempt in running]
        recorded = {one["_id"] for one in self._database.executions.find({"_id": {"$in": ids}})}
        return {
            (job_id, attempt) for job_id, attempt in running if f"{job_id}/{attempt}" in recorded
        }

    def _running_on(self, worker: str) -> set[tuple[str, int]]:
        found = self._database.jobs.find({"state": "running", "worker": worker}, {"attempt": 1})
        return {(document["_id"], document["attempt"]) for document in found}

    def _members(self, key: str) -> list[str]:
        return [str(member) for member in self._redis.zrange(key, 0, -1)]


async def until_drained(
    reader: Reader, inside: Inside, wanted: Collection[str], queue: str, within: float
) -> None:
    """Return when all of `wanted` are final and Redis is empty; or when the time is over: then the
    checker tells what is wrong."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if await reader.all_final(wanted, queue) and not any(inside.waiting(queue).values()):
            return
        await asyncio.sleep(AGAIN_SECONDS)


async def introduce(inside: Inside, queue: str) -> None:
    """Return when a reconciler knows this queue."""
    inside.introduce(queue)
    await eventually(lambda: inside.is_known(queue))


async def look_for_orphans(member: Member, inside: Inside, queue: str, found: list[Orphan]) -> None:
    """When this worker dies in its present life: who will find its jobs?"""
    worker = await eventually(lambda: inside.worker_id(member.pid))
    assert worker is not None
    life = member.lives

    def look() -> None:
        if member.lives == life:
            found.extend(inside.orphans(queue, worker))

    member.on_death = look
