"""A pipeline in memory whose machine has been up for a while, and reconcilers that look at it."""

from pipeline.ports import NOTHING_TOLD, JobStore, LeaseQueue, LiveNotes
from pipeline.watchers.reconciler import Reconciler
from tests.fakes.world import LEASE, World

GRACE = 5.0
SECONDS = LEASE.total_seconds()


async def a_world() -> World:
    """Its Redis has a generation."""
    world = World()
    world.clock.advance(1000)  # no machine boots at monotonic zero
    await world.queue.begin_generation("default", "g1")
    return world


def a_reconciler(
    world: World,
    *,
    store: JobStore | None = None,
    queue: LeaseQueue | None = None,
    notes: LiveNotes = NOTHING_TOLD,
) -> Reconciler:
    return Reconciler(
        store or world.store, queue or world.queue, world.clock, world.chance, LEASE, notes
    )


async def look_for(world: World, reconciler: Reconciler, seconds: float) -> None:
    """A look a second, as its loop does."""
    for _ in range(round(seconds)):
        await reconciler.step()
        world.clock.advance(1)
    await reconciler.step()


async def at_ease(
    world: World,
    *,
    store: JobStore | None = None,
    queue: LeaseQueue | None = None,
    notes: LiveNotes = NOTHING_TOLD,
) -> Reconciler:
    """One that has made its first full pass with this queue, some time ago."""
    await world.store.bury(await world.stored())  # the queue is known
    reconciler = a_reconciler(world, store=store, queue=queue, notes=notes)
    await look_for(world, reconciler, 10)
    return reconciler
