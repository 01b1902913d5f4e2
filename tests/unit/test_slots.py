"""How the slots of a worker are shared by its queues."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping

import pytest

from workers.slots import Slots

pytestmark = pytest.mark.unit


async def turns(slots: Slots) -> None:
    """Whoever can act acts."""
    for _ in range(20):
        await asyncio.sleep(0)


class Rush:
    """Queues that always have work, and jobs that end one after the other."""

    def __init__(self, slots: Slots, calls: Mapping[str, int]) -> None:
        self.slots = slots
        self.calls = calls
        self.running: deque[str] = deque()
        self.started: Counter[str] = Counter()

    async def pull(self, queue: str) -> None:
        """A lease loop; `calls`: how many turns of the others one lease call takes."""
        while count := await self.slots.reserve(queue):
            for _ in range(self.calls[queue]):
                await asyncio.sleep(0)
            self.slots.give_back(queue, 0)
            self.running.extend([queue] * count)
            self.started[queue] += count

    async def end(self, jobs: int, at_once: int) -> None:
        """`at_once` jobs end in every turn, until `jobs` have."""
        while jobs > 0:
            await asyncio.sleep(0)
            for _ in range(min(at_once, len(self.running))):
                self.running.popleft()
                self.slots.code_ended()
                self.slots.settled(1)
                jobs -= 1


async def shares(
    weights: Mapping[str, int], calls: Mapping[str, int], at_once: int = 1
) -> Mapping[str, float]:
    """Which part of 4,000 jobs each queue had, when all of them always have work."""
    rush = Rush(Slots(10, 100, weights), calls)
    async with asyncio.TaskGroup() as group:
        for queue in weights:
            group.create_task(rush.pull(queue))
        await rush.end(4000, at_once)
        rush.slots.close()
    return {queue: rush.started[queue] / rush.started.total() for queue in weights}


@pytest.mark.parametrize("at_once", [1, 3, 10])
@pytest.mark.parametrize("calls", [{"a": 1, "b": 1}, {"a": 0, "b": 7}, {"a": 7, "b": 0}])
async def test_queues_that_both_have_work_share_by_weight(
    calls: Mapping[str, int], at_once: int
) -> None:
    found = await shares({"a": 1, "b": 3}, calls, at_once)
    assert found["b"] == pytest.approx(0.75, abs=0.03)


async def test_queues_of_no_weight_share_alike() -> None:
    found = await shares({"a": 1, "b": 1, "c": 1}, {"a": 0, "b": 3, "c": 9})
    assert all(part == pytest.approx(1 / 3, abs=0.03) for part in found.values())


async def test_the_lightest_queue_does_not_starve_beside_the_heaviest() -> None:
    found = await shares({"a": 1, "b": 100}, {"a": 1, "b": 1})
    assert 0.005 < found["a"] < 0.02


async def test_a_queue_that_is_alone_has_all_slots() -> None:
    slots = Slots(10, 100, {"a": 1, "b": 9})
    assert await slots.reserve("a") == 10


async def test_what_a_queue_does_not_need_goes_to_the_other_at_once() -> None:
    slots = Slots(10, 100, {"a": 1, "b": 9})
    assert await slots.reserve("b") == 10
    waiting = asyncio.create_task(slots.reserve("a"))
    await turns(slots)
    assert not waiting.done()
    slots.give_back("b", 10)
    assert await waiting == 10


async def test_a_queue_that_was_idle_has_saved_up_nothing() -> None:
    slots = Slots(1, 1000)
    for _ in range(100):  # "b" is idle all that time
        assert await slots.reserve("a") == 1
        slots.code_ended()
    order = []

    async def pull(queue: str) -> None:
        while await slots.reserve(queue):
            order.append(queue)

    async with asyncio.TaskGroup() as group:
        group.create_task(pull("a"))
        group.create_task(pull("b"))
        for _ in range(20):
            await turns(slots)
            slots.code_ended()
        await turns(slots)
        slots.close()
    assert 8 <= order.count("a") <= 12


async def test_nobody_gets_a_slot_once_they_are_closed() -> None:
    slots = Slots(1, 0)
    assert await slots.reserve("a") == 1
    waiting = asyncio.create_task(slots.reserve("b"))
    await turns(slots)
    slots.close()
    assert await waiting == 0
    assert await slots.reserve("a") == 0


async def test_whoever_is_cancelled_while_it_waits_is_not_waited_for() -> None:
    slots = Slots(1, 10, {"a": 1, "b": 1})
    assert await slots.reserve("a") == 1
    waiting = asyncio.create_task(slots.reserve("b"))
    await turns(slots)
    waiting.cancel()
    await turns(slots)
    slots.code_ended()
    assert await asyncio.wait_for(slots.reserve("a"), 1) == 1
