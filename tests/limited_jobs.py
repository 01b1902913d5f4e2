"""Jobs with limit keys, and what they hold, in a world of either kind."""

from collections import Counter

from pipeline.domain.limits import KeyLimit, Rate
from tests.queue_worlds import World

ONE = KeyLimit(key="a", concurrency=1)
TWO = KeyLimit(key="a", concurrency=2)
SLOW = KeyLimit(key="slow", rate=Rate(count=2, per=1))


async def add(world: World, jobs: str, limit: KeyLimit | None, **when: int) -> None:
    """One job for each letter, each a millisecond after the one before."""
    for number, job in enumerate(jobs):
        await world.queue.add([
            world.entry(job, due_in=when.get("due_in", -9) + number / 1000, limit=limit,
                        priority=when.get("priority", 5))
        ])  # fmt: skip


def taken(world: World) -> Counter[str]:
    """How many slots of each key jobs have."""
    return Counter(key for key, _, _ in world.snapshot().slots.values())
