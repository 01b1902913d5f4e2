"""The lease queue on a real Redis, by its own clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from pipeline.clock import StoreClock, SystemChance
from pipeline.ports import Grant
from pipeline.queue.lease_queue import RedisLeaseQueue

TTL = timedelta(seconds=30)


@asynccontextmanager
async def queue_at(url: str) -> AsyncIterator[RedisLeaseQueue]:
    """Its instants are those of this Redis."""
    async with RedisLeaseQueue(url, StoreClock(), SystemChance()) as queue:
        yield queue


def raw(url: str) -> Any:
    """A plain client, to look and to meddle."""
    return redis.Redis.from_url(url, decode_responses=True)


def redis_now(url: str) -> datetime:
    """The instant of Redis."""
    with raw(url) as client:
        seconds, micros = client.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)


async def lease(
    queue: RedisLeaseQueue, lease_id: str, worker: str = "w1", limit: int = 10
) -> Grant:
    """Up to so many jobs, for `TTL`."""
    return await queue.lease("default", worker=worker, lease_id=lease_id, limit=limit, ttl=TTL)
