"""What DueQ tells in the end over HTTP, and what a look into MongoDB and Redis shows on the way."""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp
import pymongo
import redis

from infra.local.servers import Urls
from tests.chaos.checker import FINAL
from tests.chaos.history import Ended, Orphan, Told

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

    async def until_final(
        self, wanted: Sequence[str], within: float, queue: str | None = None
    ) -> None:
        """Return when all of `wanted` are final, or when the time is over: the checker tells."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if not await self._unfinished(queue):
                statuses = {job["id"]: job["status"] for job in await self._jobs(queue)}
                if all(statuses.get(job_id) in FINAL for job_id in wanted):
                    return
            await asyncio.sleep(AGAIN_SECONDS)

    async def told(self, queue: str | None = None) -> dict[str, Told]:
        """Every job there is, with its executions."""
        jobs = await self._jobs(queue)
        stories = await asyncio.gather(*(self._told(job) for job in jobs))
        return {told.job_id: told for told in stories}

    async def _unfinished(self, queue: str | None) -> bool:
        states = [("status", status) for status in ("pending", "queued", "running")]
        page = await self._get("/api/jobs", [*states, *_only(queue), ("limit", "1")])
        return bool(page["items"])

    async def _jobs(self, queue: str | None) -> Sequence[dict[str, Any]]:
        jobs: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            place = [("cursor", cursor)] if cursor else []
            page = await self._get("/api/jobs", [("limit", str(PAGE)), *_only(queue), *place])
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
        self._jobs = self._mongo.get_default_database().jobs
        self._redis = redis.Redis.from_url(urls.redis or "", decode_responses=True)

    def close(self) -> None:
        """Close the connections."""
        self._mongo.close()
        self._redis.close()

    def orphans(self, queue: str) -> Sequence[Orphan]:
        """`running`, and leased by nobody.

        MongoDB is asked before and after Redis: an attempt that ended in between is none.
        """
        before = self._running(queue)
        leased = set(self._redis.zrange(f"dueq:{{{queue}}}:leased", 0, -1))
        still = before & self._running(queue)
        return [Orphan(job_id, attempt) for job_id, attempt in still if job_id not in leased]

    def waiting(self, queue: str) -> dict[str, list[str]]:
        """The members of every set of this queue."""
        keys = [f"dueq:{{{queue}}}:{name}" for name in ("ready", "delayed", "leased")]
        return {key: self._redis.zrange(key, 0, -1) for key in keys}

    def flush(self) -> None:
        """FLUSHALL: only on a Redis that the test has started itself."""
        self._redis.flushall()

    def _running(self, queue: str) -> set[tuple[str, int]]:
        found = self._jobs.find({"queue": queue, "state": "running"}, {"attempt": 1})
        return {(document["_id"], document["attempt"]) for document in found}


def _only(queue: str | None) -> Sequence[tuple[str, str]]:
    return [("queue", queue)] if queue else []
