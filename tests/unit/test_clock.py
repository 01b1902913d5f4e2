"""One clock says "now": MongoDB's, reckoned from our monotonic one."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

import pipeline.clock
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.identity import born_at
from pipeline.domain.instants import whole_ms_down

pytestmark = pytest.mark.unit

SERVER_START = datetime(2026, 1, 1, tzinfo=UTC)


class Machine:
    """A host and a server on one true time: the host's wall clock may lie, an answer takes time."""

    def __init__(self, wall_is_ahead: float) -> None:
        self.true = 1000.0
        self._ahead = wall_is_ahead

    def monotonic(self) -> float:
        return self.true

    def time(self) -> float:
        return SERVER_START.timestamp() + self.true + self._ahead

    def server_now(self) -> datetime:
        return SERVER_START + timedelta(seconds=self.true)

    def answering(self, *ways: tuple[float, float]) -> Callable[[], Awaitable[datetime]]:
        """Each answer takes its next (there, back), in seconds."""
        journeys = iter(ways * 5)

        async def server_time() -> datetime:
            there, back = next(journeys)
            self.true += there
            said = whole_ms_down(self.server_now())
            self.true += back
            return said

        return server_time


def a_machine(monkeypatch: pytest.MonkeyPatch, wall_is_ahead: float = 0.0) -> Machine:
    machine = Machine(wall_is_ahead)
    monkeypatch.setattr(pipeline.clock, "time", machine)
    return machine


def error_of(clock: StoreClock, machine: Machine) -> timedelta:
    return abs(clock.now() - machine.server_now())


@pytest.mark.parametrize("ahead", [300.0, -300.0, 1e6])
async def test_h25_a_host_minutes_ahead_delays_nothing(
    monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """H25: A gateway whose wall clock is five minutes ahead stamps `accepted_at`; by it, every job
    that it accepts would be stored as due in five minutes."""
    machine = a_machine(monkeypatch, ahead)
    clock = StoreClock()
    assert error_of(clock, machine) > timedelta(minutes=4)
    await clock.measure(machine.answering((0.0005, 0.0005)))
    assert error_of(clock, machine) <= timedelta(milliseconds=1)


async def test_a_wall_clock_that_is_set_while_we_run_is_not_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = a_machine(monkeypatch)
    clock = StoreClock()
    await clock.measure(machine.answering((0.0005, 0.0005)))
    machine._ahead = 3600
    machine.true += 50
    assert error_of(clock, machine) <= timedelta(milliseconds=1)


async def test_slow_answers_among_quick_ones_do_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = a_machine(monkeypatch, 300)
    clock = StoreClock()
    await clock.measure(machine.answering((2.0, 0.0), (0.0004, 0.0004)))
    assert error_of(clock, machine) <= timedelta(milliseconds=1)


async def test_answers_that_all_dawdle_bound_the_error_by_their_journey(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = a_machine(monkeypatch, 300)
    clock = StoreClock()
    await clock.measure(machine.answering((0.2, 0.0)))
    assert error_of(clock, machine) <= timedelta(milliseconds=101)


async def test_a_second_measurement_follows_a_server_that_drifted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = a_machine(monkeypatch, 300)
    clock = StoreClock()
    await clock.measure(machine.answering((0.0005, 0.0005)))
    drift = timedelta(seconds=2)

    async def drifted() -> datetime:
        machine.true += 0.001
        return whole_ms_down(machine.server_now() + drift)

    await clock.measure(drifted)
    assert error_of(clock, machine) - drift <= timedelta(milliseconds=2)
    assert clock.now() > machine.server_now() + timedelta(seconds=1.9)


async def test_a_server_that_does_not_answer_leaves_the_clock_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_machine(monkeypatch)
    clock = StoreClock()
    before = clock.now()

    async def silent() -> datetime:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await clock.measure(silent)
    assert clock.now() == before


async def test_it_tells_aware_utc_and_monotonic_seconds_and_sleeps() -> None:
    clock = StoreClock()
    assert clock.now().tzinfo is UTC
    began = time.monotonic()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert 0.001 <= clock.monotonic() - before <= time.monotonic() - began + 0.001


def test_chance_gives_fresh_things() -> None:
    chance = SystemChance()
    assert len({chance.token() for _ in range(1000)}) == 1000
    assert all(0 <= chance.lot() < 1 for _ in range(1000))
    assert len({chance.lot() for _ in range(1000)}) > 990
    assert born_at(chance.job_id()) is not None


def test_a_token_has_no_blank_that_would_split_a_lease_key() -> None:
    """Redis keeps `<worker id> <lease id>`."""
    assert all(token.isalnum() for token in (SystemChance().token() for _ in range(100)))
