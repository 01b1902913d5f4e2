"""A step, again and again, until stopped."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from pipeline.domain.errors import Unavailable
from pipeline.watchers.loop import Loop
from tests.fakes.clock import ManualClock, SeededChance

pytestmark = pytest.mark.unit

Step = Callable[[], Awaitable[None]]
PERIOD = 10.0


class Steps:
    """A step that notes when it ran and fails as told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.at: list[float] = []
        self.failures: list[Exception] = []

    async def __call__(self) -> None:
        self.at.append(self.clock.monotonic())
        if self.failures:
            raise self.failures.pop(0)

    @property
    def gaps(self) -> list[float]:
        return [after - before for before, after in zip(self.at, self.at[1:], strict=False)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def steps(clock: ManualClock) -> Steps:
    return Steps(clock)


def a_loop(steps: Step, clock: ManualClock, *, seed: int = 1, listen: Step | None = None) -> Loop:
    period = timedelta(seconds=PERIOD)
    return Loop("test", steps, period, clock, SeededChance(seed), listen)


@asynccontextmanager
async def running(loop: Loop) -> AsyncIterator[asyncio.Task[None]]:
    """The loop at work; a test never leaves it behind."""
    task = asyncio.ensure_future(loop.run())
    try:
        yield task
    finally:
        loop.stop()
        await asyncio.wait_for(task, 5)


async def test_it_steps_at_once_and_then_always_within_its_period(
    clock: ManualClock, steps: Steps
) -> None:
    async with running(a_loop(steps, clock)):
        await clock.run(1000)
    assert steps.at[0] == 0
    assert all(PERIOD * 0.5 <= gap <= PERIOD * 0.9 for gap in steps.gaps)
    assert len(steps.gaps) > 100


async def test_r12_copies_do_not_move_as_one(clock: ManualClock) -> None:
    one, other = Steps(clock), Steps(clock)
    async with running(a_loop(one, clock, seed=1)), running(a_loop(other, clock, seed=2)):
        await clock.run(200)
    assert len(set(one.at[1:]) & set(other.at[1:])) == 0
    assert len(set(one.gaps)) > 10


@pytest.mark.parametrize("error", [Unavailable("Redis", "away"), ValueError("a bug")])
async def test_a_failure_never_ends_it_and_is_tried_again_soon(
    clock: ManualClock, steps: Steps, error: Exception
) -> None:
    steps.failures = [error, error]
    async with running(a_loop(steps, clock)):
        await clock.run(30)
    assert len(steps.at) > 4
    assert all(0.5 <= gap <= 0.9 for gap in steps.gaps[:2])
    assert steps.gaps[2] >= PERIOD * 0.5


def a_loop_in_time(steps: Step, clock: ManualClock, at_latest: Callable[[], float]) -> Loop:
    period = timedelta(seconds=PERIOD)
    return Loop("test", steps, period, clock, SeededChance(1), at_latest=at_latest)


async def test_it_steps_before_its_period_when_it_has_to(clock: ManualClock, steps: Steps) -> None:
    """A schedule fires at every second; a period is ten."""
    async with running(a_loop_in_time(steps, clock, lambda: 1 - clock.monotonic() % 1)):
        await clock.run(5)
    assert steps.at == [0, 1, 2, 3, 4, 5]


async def test_what_has_to_be_done_at_once_does_not_make_it_spin_while_it_fails(
    clock: ManualClock, steps: Steps
) -> None:
    steps.failures = [Unavailable("MongoDB", "away")] * 3
    async with running(a_loop_in_time(steps, clock, lambda: 0.0)):
        await clock.run(1.4)
    assert all(0.5 <= gap <= 0.9 for gap in steps.gaps[:2])


async def test_it_steps_at_once_when_it_is_woken(clock: ManualClock, steps: Steps) -> None:
    bell = asyncio.Queue[None]()
    async with running(a_loop(steps, clock, listen=bell.get)):
        await clock.run(1)
        bell.put_nowait(None)
        await clock.run(0)
        assert steps.at == [0, 1]


async def test_a_wake_up_during_a_step_is_not_lost(clock: ManualClock) -> None:
    """What it tells of may have arrived after the step had looked."""
    bell = asyncio.Queue[None]()
    at: list[float] = []

    async def slow() -> None:
        at.append(clock.monotonic())
        await clock.sleep(1)

    async with running(a_loop(slow, clock, listen=bell.get)):
        await clock.run(0.5)
        bell.put_nowait(None)
        await clock.run(1)
        assert at == [0, 1]
        await clock.run(2)


async def test_a_listener_that_cannot_hear_costs_only_promptness(
    clock: ManualClock, steps: Steps
) -> None:
    async def deaf() -> None:
        raise Unavailable("Redis", "away")

    async with running(a_loop(steps, clock, listen=deaf)):
        await clock.run(100)
    assert 10 < len(steps.at) <= 101


async def test_stop_ends_a_sleeping_loop_at_once(clock: ManualClock, steps: Steps) -> None:
    async with running(a_loop(steps, clock)):
        await clock.run(0)
    assert steps.at == [0]
    assert clock.sleeping == 0


async def test_stop_lets_the_step_under_way_finish(clock: ManualClock) -> None:
    done: list[str] = []

    async def slow() -> None:
        await clock.sleep(3)
        done.append("whole")

    loop = a_loop(slow, clock)
    task = asyncio.ensure_future(loop.run())
    await clock.run(1)
    loop.stop()
    await clock.run(1)
    assert not task.done()
    await clock.run(2)
    assert task.done()
    assert done == ["whole"]


async def test_stopped_before_it_began_it_does_nothing(clock: ManualClock, steps: Steps) -> None:
    loop = a_loop(steps, clock)
    loop.stop()
    await loop.run()
    assert steps.at == []


async def test_it_takes_its_listener_along_when_it_ends(clock: ManualClock, steps: Steps) -> None:
    ended: list[bool] = []

    async def listen() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with running(a_loop(steps, clock, listen=listen)):
        await clock.run(1)
    assert ended == [True]


async def test_cancellation_is_not_swallowed(clock: ManualClock) -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    task = asyncio.ensure_future(a_loop(stuck, clock).run())
    await clock.run(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
