"""A pipeline in memory, and reapers that look at it."""

from pipeline.domain.execution import ErrorInfo, Execution, Lost, conclude
from pipeline.domain.job import Job
from pipeline.ports import JobStore, Lease, LeaseQueue
from pipeline.watchers.reaper import Reaper
from tests.fakes.world import LEASE, World

SECONDS = LEASE.total_seconds()


async def a_world() -> World:
    """Its Redis has a generation."""
    world = World()
    await world.queue.begin_generation("default", "g1")
    return world


def a_reaper(
    world: World, *, store: JobStore | None = None, queue: LeaseQueue | None = None
) -> Reaper:
    return Reaper(store or world.store, queue or world.queue, world.clock, LEASE)


async def look_for(world: World, reaper: Reaper, seconds: float) -> None:
    """Looks every five seconds, as its loop does."""
    for _ in range(round(seconds / 5)):
        await reaper.step()
        world.clock.advance(5)
    await reaper.step()


async def acquainted(
    world: World, *, store: JobStore | None = None, queue: LeaseQueue | None = None
) -> Reaper:
    """A reaper that has seen this Redis for long enough."""
    reaper = a_reaper(world, store=store, queue=queue)
    await look_for(world, reaper, SECONDS)
    return reaper


async def heartbeat(world: World, *jobs: Job) -> None:
    """What a living worker does every third of a lease."""
    await world.queue.extend([Lease.of(job) for job in jobs], LEASE)


async def run_out(world: World, reaper: Reaper) -> None:
    """Nobody extends; the reaper looks on; at the last look the leases are out."""
    await look_for(world, reaper, SECONDS)


def a_loss(world: World, job: Job) -> Execution:
    """What another reaper inserts."""
    return conclude(job, Lost(ErrorInfo("lost", "silence")), finished_at=world.now, lot=0)
