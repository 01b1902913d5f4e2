"""What the figures were measured on: without it they mean nothing."""

import os
import platform
from datetime import timedelta
from pathlib import Path

from infra.bench.target import Target
from pipeline.broker.topology import check_broker
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.errors import DueQError
from pipeline.queue.lease_queue import RedisLeaseQueue
from pipeline.stats import dueq_version
from pipeline.store.server import check_mongo

_PATIENCE = timedelta(seconds=5)


def machine() -> dict[str, object]:
    """Cores that we may use, their model, kernel, Python."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def cpu_model(cpuinfo: str) -> str:
    """The first `model name`; some machines have none."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


async def versions(target: Target) -> dict[str, str]:
    """DueQ's and the servers'; `unknown` for a server that we cannot reach ourselves."""
    found = {"dueq": dueq_version(), "python": platform.python_version()}
    for name, ask in (("rabbitmq", _rabbitmq), ("mongodb", _mongodb), ("redis", _redis)):
        try:
            found[name] = await ask(target)
        except (DueQError, ValueError):
            found[name] = "unknown"
    return found


async def _rabbitmq(target: Target) -> str:
    return (await check_broker(target.amqp)).version


async def _mongodb(target: Target) -> str:
    return (await check_mongo(target.mongo, _PATIENCE)).version


async def _redis(target: Target) -> str:
    async with RedisLeaseQueue(target.redis, StoreClock(), SystemChance()) as queue:
        return (await queue.check_server()).version
