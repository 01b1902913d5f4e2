"""Planted bugs, one each: what the tests must catch, or they prove nothing.

Each replaces one method of the real code in a process that the test starts; the production modules
know nothing of them. None crashes by itself: a crash point makes the bug show.
"""

import asyncio
from collections.abc import Callable, Sequence

from pipeline import ending
from pipeline.broker.mailbox import RabbitMailbox
from pipeline.domain.execution import Execution
from pipeline.domain.lifecycle import Change
from pipeline.ports import Delivery, JobStore, Lease, LeaseQueue
from pipeline.store.event_feed import MongoEventFeed
from pipeline.watchers.reconciler import Reconciler

MUTANT = "DUEQ_TEST_MUTANT"
"""The variable that names the bug a process has."""

_WIDENED = 0.5
"""Seconds between the early ack and the insert, so that a kill at random falls between them."""


def ingest_acknowledges_first() -> None:
    """RabbitMQ forgets the message before MongoDB has the job."""
    take, ack = RabbitMailbox.take, RabbitMailbox.ack

    async def take_and_ack(self: RabbitMailbox, limit: int) -> Sequence[Delivery]:
        deliveries = await take(self, limit)
        await ack(self, deliveries)
        await asyncio.sleep(_WIDENED)
        return deliveries

    async def nothing(self: RabbitMailbox, deliveries: Sequence[Delivery]) -> None:
        pass

    RabbitMailbox.take = take_and_ack  # type: ignore[method-assign]
    RabbitMailbox.ack = nothing  # type: ignore[method-assign]


def worker_acknowledges_first() -> None:
    """Redis forgets the lease before the job's document has settled."""

    async def end(
        executions: Sequence[Execution],
        leases: Sequence[Lease],
        store: JobStore,
        queue: LeaseQueue,
    ) -> Sequence[Execution]:
        standing = await store.record(executions)
        await queue.ack(leases)
        await store.settle(standing)
        await queue.wake_dispatcher()
        return standing

    ending.end = end


def reconciler_is_off() -> None:
    """Nobody compares Redis with MongoDB."""

    async def nothing(self: Reconciler) -> None:
        pass

    Reconciler.step = nothing  # type: ignore[method-assign]


def announcer_marks_first() -> None:
    """The bookmark is behind changes that nobody has been told of yet."""
    read = MongoEventFeed.read

    async def read_and_mark(self: MongoEventFeed, limit: int) -> Sequence[Change]:
        changes = await read(self, limit)
        if changes:
            await self.mark()
            await asyncio.sleep(_WIDENED)
        return changes

    MongoEventFeed.read = read_and_mark  # type: ignore[method-assign]


MUTANTS: dict[str, tuple[str, Callable[[], None]]] = {
    "ingest-acknowledges-first": ("ingest", ingest_acknowledges_first),
    "worker-acknowledges-first": ("worker", worker_acknowledges_first),
    "announcer-marks-first": ("watcher", announcer_marks_first),
    "reconciler-is-off": ("watcher", reconciler_is_off),
}
"""By name: the role that has the bug, and what plants it."""


def plant(name: str) -> None:
    """Put this bug into this process."""
    _, put_in = MUTANTS[name]
    put_in()
