"""Two gateways at one Redis: each wake-up finds somebody who looks, whoever has gone meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest_asyncio

from gateway.worker_bells import Bells, Waiter
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.job import Entry
from pipeline.queue.lease_queue import RedisLeaseQueue
from tests.support import eventually

TTL = timedelta(seconds=30)
LONG = 30.0


@dataclass
class Gateway:
    """What waits there."""

    name: str
    queue: RedisLeaseQueue
    bells: Bells

    async def wait_for_one(self, number: int) -> str:
        """As a request for work does: look, then wait for a ring; the job."""
        async with self.bells.waiter() as waiter:
            while True:
                await waiter.attend(["q"])
                waiter.looks_at("q")
                name = f"{self.name}-{number}"
                grant = await self.queue.lease("q", worker=name, lease_id=name, limit=1, ttl=TTL)
                if grant.job_ids:
                    return grant.job_ids[0]
                assert await waiter.wait(LONG), "nobody rang"


@pytest_asyncio.fixture
async def gateways(redis_url: str) -> AsyncIterator[list[Gateway]]:
    clock, chance = StoreClock(), SystemChance()
    async with AsyncExitStack() as stack:
        both = []
        for name in ("a", "b"):
            queue = await stack.enter_async_context(RedisLeaseQueue(redis_url, clock, chance))
            bells = Bells(queue, clock)
            await stack.enter_async_context(bells.running())
            both.append(Gateway(name, queue, bells))
        yield both


def entries(count: int) -> list[Entry]:
    now = StoreClock().now() - timedelta(seconds=1)
    return [Entry(job_id=f"j-{n}", queue="q", due_at=now, priority=5) for n in range(count)]


async def test_each_of_many_that_wait_is_rung_for_a_job_of_its_own(
    gateways: list[Gateway],
) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = [
            group.create_task(each.wait_for_one(number)) for each in gateways for number in range(4)
        ]
        await eventually(lambda: all(each.bells.waiting("q") == 4 for each in gateways))
        await gateways[0].queue.add(entries(8))
    assert sorted(task.result() for task in waiting) == [f"j-{n}" for n in range(8)]


async def test_who_was_rung_and_goes_lets_another_gateway_know(gateways: list[Gateway]) -> None:
    one, other = gateways
    async with one.bells.waiter() as going:
        await going.attend(["q"])
        await one.queue.add(entries(1))
        assert await going.wait(LONG)
        async with asyncio.TaskGroup() as group:
            staying = group.create_task(rung(other))
            await eventually(lambda: other.bells.waiting("q") == 1)
            await going.attend(())
    assert staying.result()


async def rung(gateway: Gateway) -> bool:
    """Whether somebody who waits there is rung."""
    async with gateway.bells.waiter() as waiter:
        await waiter.attend(["q"])
        return await waiter.wait(LONG)


async def test_a_gateway_that_stops_keeps_no_wakeup(redis_url: str) -> None:
    clock = StoreClock()
    async with RedisLeaseQueue(redis_url, clock, SystemChance()) as queue:
        stopped = Bells(queue, clock)
        async with stopped.running():
            waiter = Waiter(stopped)
            await waiter.attend(["q"])
            await queue.add(entries(1))
            assert await waiter.wait(LONG)
            await waiter.attend(())
        await asyncio.wait_for(queue.await_work("q"), LONG / 2)
