"""What limits cost, measured on a private Redis: `python -m tests.bench.limits`.

Side by side: put in, lease and acknowledge through the adapter, without a limit, with one of the
queue, and with one of each key, in turn. What is counted is the CPU time of Redis and of this
process, the median of all rounds: one waits for the other, so on an idle machine it is the time
that passes, and on a busy one that says nothing. A whole attempt has more than that in it (start,
record, settle).
Beside a million: one customer has 1,000,000 jobs waiting and two running; another customer's only
job comes.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from infra.local.servers import Urls
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.job import Entry
from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit, Rate
from pipeline.ports import Lease
from pipeline.queue.lease_queue import RedisLeaseQueue
from tests.servers import private_local_servers

TTL = timedelta(seconds=30)
ROUNDS, MILLION, SLOTS = 15, 1_000_000, 200
JOBS_OF_BATCH = {1: 700, 10: 3000, 100: 5000}
Limiter = Callable[[int], KeyLimit | None]
_UNLIMITED: Limiter = lambda number: None  # noqa: E731 - one of a table
VARIANTS: dict[str, tuple[Limit, Limiter]] = {
    "no limit": (NO_LIMIT, _UNLIMITED),
    "no limit, again": (NO_LIMIT, _UNLIMITED),
    "queue: concurrency": (Limit(concurrency=5000), _UNLIMITED),
    "queue: and rate": (Limit(concurrency=5000, rate=Rate(count=99_999, per=10)), _UNLIMITED),
    "50 keys with room": (NO_LIMIT, lambda n: KeyLimit(key=f"customer-{n % 50}", concurrency=100)),
    "50 keys, full": (NO_LIMIT, lambda n: KeyLimit(key=f"customer-{n % 50}", concurrency=10)),
    "1000 keys, full": (NO_LIMIT, lambda n: KeyLimit(key=f"customer-{n % 1000}", concurrency=2)),
    "50 keys with rates": (
        NO_LIMIT, lambda n: KeyLimit(key=f"customer-{n % 50}", rate=Rate(count=9999))
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """CPU seconds a job."""

    add: float
    lease: float
    ack: float


async def main() -> None:
    """Print one line a measurement."""
    async with private_local_servers(Urls(amqp="unused:", mongo="unused:")) as servers:
        assert servers.urls.redis is not None
        async with RedisLeaseQueue(servers.urls.redis, StoreClock(), SystemChance()) as queue:
            with redis.Redis.from_url(servers.urls.redis) as client:
                for batch, jobs in JOBS_OF_BATCH.items():
                    await side_by_side(queue, client, batch, jobs)
            await beside_a_million(queue)


async def side_by_side(queue: RedisLeaseQueue, client: Any, batch: int, jobs: int) -> None:
    """Medians in batches of this size, and what is missing to the rate without a limit."""
    costs: dict[str, list[Cost]] = {name: [] for name in VARIANTS}
    for number in range(ROUNDS):
        for name in VARIANTS:
            place = f"b{batch}r{number}" + "".join(char for char in name if char.isalnum())
            costs[name].append(await measured(queue, client, place, name, batch, jobs))
    usual = middle(costs["no limit"])
    for name, found in costs.items():
        cost = middle(found)
        tell(
            f"batches of {batch:3}, {name:18} lease {1e6 * cost.lease:6.1f} us "
            f"{share(usual.lease, cost.lease)}, and ack {1e6 * cost.ack:6.1f} us "
            f"{share(usual.lease + usual.ack, cost.lease + cost.ack)}, add {1e6 * cost.add:5.1f} us"
        )


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each."""
    return Cost(*(statistics.median(values) for values in zip(*map(astuple, costs), strict=True)))


def share(usual: float, cost: float) -> str:
    """What it makes of the rate."""
    return f"{100 * (usual / cost - 1):+6.1f} %"


async def measured(
    queue: RedisLeaseQueue, client: Any, place: str, variant: str, batch: int, jobs: int
) -> Cost:
    """So many jobs of a queue of their own, in, out and done."""
    began = cpu_time(client)
    await fill(queue, place, variant, jobs)
    add, lease, ack, done = cpu_time(client) - began, 0.0, 0.0, 0
    while done < jobs:
        began = cpu_time(client)
        leases = [each async for each in all_leases(queue, place, f"L{done}", batch)]
        middle_of_it = cpu_time(client)
        for mine in leases:
            await queue.ack(mine)
        lease, ack = lease + middle_of_it - began, ack + cpu_time(client) - middle_of_it
        done += sum(map(len, leases))
    return Cost(add / jobs, lease / jobs, ack / jobs)


async def all_leases(
    queue: RedisLeaseQueue, place: str, name: str, batch: int
) -> AsyncIterator[Sequence[Lease]]:
    """What each lease call gives, until a worker has its slots full, or one gives nothing."""
    for number in range(max(1, SLOTS // batch)):
        lease_id = f"{name}-{number}"
        grant = await queue.lease(place, worker="w", lease_id=lease_id, limit=batch, ttl=TTL)
        if not grant.job_ids:
            return
        yield [Lease(job, place, "w", lease_id) for job in grant.job_ids]


async def fill(queue: RedisLeaseQueue, name: str, variant: str, jobs: int) -> None:
    """So many due jobs, and the limits."""
    own, limiter = VARIANTS[variant]
    await queue.limit(name, own)
    start = datetime.now(UTC) - timedelta(minutes=1)
    await queue.add([
        Entry(job_id(n), name, start + n * timedelta(milliseconds=1), limit=limiter(n))
        for n in range(jobs)
    ])  # fmt: skip


def cpu_time(client: Any) -> float:
    """Seconds that Redis and this process have used."""
    used = client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"]) + time.process_time()


async def beside_a_million(queue: RedisLeaseQueue) -> None:
    """How soon the only job of a customer is leased."""
    start = datetime.now(UTC) - timedelta(hours=1)
    many = KeyLimit(key="A", concurrency=2)
    for first in range(0, MILLION, 10_000):
        await queue.add([
            Entry(job_id(n), "million", start + n * timedelta(milliseconds=1), limit=many)
            for n in range(first, first + 10_000)
        ])  # fmt: skip
    await queue.lease("million", worker="w", lease_id="A", limit=100, ttl=TTL)
    began = time.perf_counter()
    only = Entry("b", "million", datetime.now(UTC), limit=KeyLimit(key="B", concurrency=2))
    await queue.add([only])
    grant = await queue.lease("million", worker="w", lease_id="B", limit=100, ttl=TTL)
    assert grant.job_ids == ["b"]
    passed = time.perf_counter() - began
    tell(f"beside {MILLION:,} jobs of A, 2 running: B's only job leased {1000 * passed:.1f} ms on")


def job_id(number: int) -> str:
    """As long as a real one."""
    return f"{number:08d}-0000-7000-8000-000000000000"


def tell(text: str) -> None:
    """One line, now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
