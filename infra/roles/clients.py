"""The clients of a process, built once and closed in the end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from infra.exits import CommandFailed, Exit
from infra.roles.running import Process, never_unasked
from pipeline.broker.topology import declare_topology
from pipeline.config import Settings
from pipeline.queue.lease_queue import RedisLeaseQueue
from pipeline.queue.server import UnfitServer
from pipeline.store.connect import UnfitUrl
from pipeline.store.job_store import MongoJobStore

_LONGEST_CALL = timedelta(seconds=10)
_GATEWAY_CALL = timedelta(seconds=5)


def new_store(process: Process) -> MongoJobStore:
    """A store that connects at its first use. Close it."""
    url, patience = process.settings.mongo_url, longest_call(process.role, process.settings)
    try:
        return MongoJobStore(url, process.clock, process.chance, patience)
    except UnfitUrl as unfit:
        raise CommandFailed(Exit.USAGE, f"DUEQ_MONGO_URL cannot be used: {unfit}") from None


def longest_call(role: str, settings: Settings) -> timedelta:
    """A worker's stays well below the lease: a start that outlives it helps nobody (R5).

    A gateway's client waits for the answer; nobody waits for the others.
    """
    if role == "worker":
        return min(_LONGEST_CALL, settings.lease / 3)
    return _GATEWAY_CALL if role == "gateway" else _LONGEST_CALL


@asynccontextmanager
async def store_of(process: Process) -> AsyncIterator[MongoJobStore]:
    """MongoDB, with its indexes made and its clock measured; waits for it."""
    store = new_store(process)
    try:
        await prepare_store(process, store)
        process.checks["MongoDB"] = store.server_time
        yield store
    finally:
        store.close()


@asynccontextmanager
async def queue_of(process: Process) -> AsyncIterator[RedisLeaseQueue]:
    """Redis; waits for it, and refuses one that may throw keys away."""
    url = process.settings.redis_url
    async with RedisLeaseQueue(url, process.clock, process.chance) as queue:
        await check_queue(process, queue)
        process.checks["Redis"] = queue.queues
        yield queue


async def prepare_store(process: Process, store: MongoJobStore) -> None:
    """Make the indexes and measure the clock, as soon as MongoDB answers."""

    async def prepare() -> None:
        await store.prepare()
        await process.clock.measure(store.server_time)

    await process.connect("MongoDB", process.settings.mongo_url, prepare)


async def check_queue(process: Process, queue: RedisLeaseQueue) -> None:
    """Raises `CommandFailed` if this Redis may throw keys away, as soon as it answers."""

    async def check() -> None:
        try:
            (await queue.check_server()).require_noeviction()
        except UnfitServer as unfit:
            raise CommandFailed(Exit.FAILED, str(unfit)) from None

    await process.connect("Redis", process.settings.redis_url, check)


async def declare(process: Process) -> None:
    """Make RabbitMQ's topology exist; waits for the broker."""
    url = process.settings.amqp_url
    await process.connect("RabbitMQ", url, lambda: declare_topology(url, process.clock))


@asynccontextmanager
async def beside(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these for as long as the body runs."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(never_unasked(loop)) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
