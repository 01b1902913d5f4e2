"""`dueq gateway`: jobs in over HTTP, out to RabbitMQ (`gateway`).

It is ready when it can publish. MongoDB and Redis may be away at any time, at the start too: then
reading fails (503) and accepting goes on. On a signal it takes nothing new, answers what is in
flight, and ends.
"""

import asyncio

from gateway.app import GatewayDeps, create_app
from gateway.serve import serve
from infra.asyncapi import document
from infra.exits import CommandFailed
from infra.roles.clients import beside, check_queue, new_store, prepare_store
from infra.roles.ports import is_loopback
from infra.roles.running import Process, keep_time, run_role
from pipeline.broker.publisher import RabbitIntake
from pipeline.queue.http_workers import RedisHttpWorkers
from pipeline.queue.lease_queue import RedisLeaseQueue
from pipeline.queue.live_notes import RedisLiveNotes
from pipeline.queue.sick_targets import RedisSickTargets
from pipeline.store.job_store import MongoJobStore


def run() -> None:
    """Until a signal."""
    run_role("gateway", _work)


async def _work(process: Process) -> None:
    settings, clock, chance = process.settings, process.clock, process.chance
    store = new_store(process)
    timeout = settings.publish_timeout_seconds
    stop = asyncio.Event()
    try:
        async with (
            RabbitIntake(settings.amqp_url, timeout, clock, chance) as intake,
            RedisLeaseQueue(settings.redis_url, clock, chance) as queue,
            RedisSickTargets(settings.redis_url, chance) as targets,
            RedisLiveNotes(settings.redis_url) as live,
            RedisHttpWorkers(settings.redis_url) as http_workers,
            beside(_set_up(process, store, queue)),
        ):
            loopback = is_loopback(settings.front_host)
            deps = GatewayDeps(
                intake,
                store,
                queue,
                clock,
                chance,
                store.schedules,
                targets,
                http_workers,
                bind_is_loopback=loopback,
                live=live,
                asyncapi=document(),
                lease=settings.lease,
            )
            process.ready(finish=stop.set)
            await serve(create_app(deps), process.bound, stop)
    finally:
        store.close()


async def _set_up(process: Process, store: MongoJobStore, queue: RedisLeaseQueue) -> None:
    """What accepting jobs does not have to wait for, then the clock for ever."""
    await prepare_store(process, store)
    try:
        await check_queue(process, queue)
    except CommandFailed as failure:
        process.refuse(failure)
    await keep_time(process.clock, store)
