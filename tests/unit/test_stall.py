"""A loop that a job blocks is told of, with where it is."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.fakes.clock import ManualClock
from tests.support import eventually
from workers.stall import Stall

GLANCE = 1.5


class Loop:
    """One in a thread of its own, which is watched from here."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.gate = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        making = asyncio.run_coroutine_threadsafe(self._make(), self._loop)
        self.stall: Stall = making.result(20)

    async def _make(self) -> Stall:
        return Stall(self.clock, GLANCE)

    async def block(self) -> None:
        self.gate.clear()
        blocked = threading.Event()
        self._loop.call_soon_threadsafe(self.a_job_that_blocks, blocked)
        await eventually(blocked.is_set)

    def a_job_that_blocks(self, blocked: threading.Event) -> None:
        blocked.set()
        self.gate.wait(20)

    async def goes_on(self) -> None:
        self.gate.set()
        passed = threading.Event()
        self._loop.call_soon_threadsafe(passed.set)
        await eventually(passed.is_set)

    def stop(self) -> None:
        self.gate.set()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


async def test_a_blocked_loop_is_told_of_once_and_again_after_it_went_on(loop: Loop) -> None:
    with capture_logs() as logs:
        for _ in range(2):
            await loop.block()
            for _ in range(4):
                loop.stall.look()
                await loop.clock.run(4)
            await loop.goes_on()
    assert [log["event"] for log in logs] == ["loop.blocked", "loop.blocked"]
    assert "a_job_that_blocks" in logs[0]["where"]


async def test_a_loop_that_answers_is_not_told_of_however_seldom_one_looks(loop: Loop) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            loop.stall.look()
            await loop.goes_on()
            await loop.clock.run(60)
    assert logs == []


async def test_a_blocked_loop_is_blocked_for_as_long_as_it_was_watched(loop: Loop) -> None:
    await loop.block()
    seen = []
    for _ in range(21):
        seen.append(loop.stall.look())
        await loop.clock.run(GLANCE)
    assert seen == [each * GLANCE for each in range(21)]


async def test_who_was_frozen_himself_has_not_seen_that_the_loop_was_blocked(loop: Loop) -> None:
    """SIGSTOP, or a machine without CPU: the loop, too, goes on only now."""
    await loop.block()
    for _ in range(10):
        loop.stall.look()
        await loop.clock.run(GLANCE)
    await loop.clock.run(3600)
    assert loop.stall.look() <= 12 * GLANCE
    await loop.goes_on()
    assert loop.stall.look() == 0


async def test_an_answer_in_the_middle_of_a_look_does_not_end_who_looks(loop: Loop) -> None:
    """The heartbeat reads that it has asked; the loop, free again, answers; the heartbeat reckons
    for how long. With what is no instant any more it would die, and its worker with it."""

    class Instant(float):
        def __sub__(self, since: float) -> float:
            loop.stall._answer()
            return float(self) - since

    loop.stall._asked_at = 0.0
    loop.clock.monotonic = lambda: Instant(60)  # type: ignore[method-assign]
    with capture_logs() as logs:
        loop.stall.look()
    assert [log["seconds"] for log in logs] == [60]
