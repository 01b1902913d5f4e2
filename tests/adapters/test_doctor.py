"""What the doctor says of servers on which nobody, or everybody, works."""

from datetime import UTC, datetime, timedelta

from infra.doctor import Finding, examine
from pipeline.broker.consumer import Consumer
from pipeline.broker.topology import declare_topology
from pipeline.clock import StoreClock, SystemChance
from pipeline.config import Settings
from pipeline.ports import WatcherView, WorkerView
from pipeline.queue.lease_queue import RedisLeaseQueue
from tests.support import eventually

CLOCK, CHANCE = StoreClock(), SystemChance()
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
WATCHER = WatcherView("w", "host", 1, "1.0", STARTED)
WORKER = WorkerView("r", "host", 2, ["default"], 1, 0, STARTED)


async def alive(settings: Settings) -> dict[str, Finding]:
    found = {each.check: each for each in await examine(settings)}
    return {role: found[f"{role} alive"] for role in ("ingest", "watcher", "worker")}


async def test_without_anybody_at_work_all_is_not_well(
    amqp_url: str, mongo_url: str, redis_url: str
) -> None:
    """Servers that answer are half of it: jobs would be accepted, and wait for ever."""
    settings = Settings(amqp_url=amqp_url, mongo_url=mongo_url, redis_url=redis_url)
    for declared in (False, True):
        if declared:
            await declare_topology(amqp_url, CLOCK)
        for role, finding in (await alive(settings)).items():
            assert not finding.ok
            assert f"start `dueq {role}`" in finding.mend


async def test_those_at_work_are_counted_until_they_are_silent_for_too_long(
    amqp_url: str, mongo_url: str, redis_url: str
) -> None:
    settings = Settings(amqp_url=amqp_url, mongo_url=mongo_url, redis_url=redis_url)
    await declare_topology(amqp_url, CLOCK)
    async with RedisLeaseQueue(redis_url, CLOCK, CHANCE) as queue:
        await queue.announce_worker(WORKER, timedelta(minutes=1))
        await queue.announce_watcher(WATCHER, timedelta(minutes=1))
        consumer = await Consumer.open(amqp_url, CLOCK, 1)
        assert all(finding.ok for finding in (await alive(settings)).values())

        await queue.announce_watcher(WATCHER, timedelta(milliseconds=1))  # stopped by a signal
        await consumer.close()

        async def are_silent() -> bool:
            found = await alive(settings)
            return [role for role, finding in found.items() if finding.ok] == ["worker"]

        await eventually(are_silent)
