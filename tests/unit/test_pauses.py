"""How long is waited before the same is tried again (`pipeline.domain.pauses`)."""

import asyncio

import pytest

from pipeline.broker.connection import Backoff
from pipeline.domain.pauses import growing, half_to_all
from tests.fakes.clock import ManualClock, SeededChance

pytestmark = pytest.mark.unit


def test_a_pause_doubles_with_each_failure_up_to_the_longest() -> None:
    pauses = [growing(failures, first=0.5, longest=3.0) for failures in range(1, 6)]
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_what_has_been_away_for_years_is_still_waited_for() -> None:
    assert growing(1_000_000_000, first=0.1, longest=2.0) == 2.0


def test_what_is_drawn_of_a_pause_is_half_of_it_to_all_of_it() -> None:
    assert half_to_all(4.0, 0.0) == 2.0
    assert half_to_all(4.0, 0.5) == 3.0
    assert 3.99 < half_to_all(4.0, 0.999) < 4.0


async def test_a_broker_that_is_away_for_hours_is_still_waited_for() -> None:
    """After 17 minutes of refused connections the pause was no number any more: gateways and
    workers ended with the loop that keeps them connected."""
    clock = ManualClock()
    backoff = Backoff(clock, SeededChance(1))
    for _ in range(1_100):
        waiting = asyncio.ensure_future(backoff.wait())
        await clock.run(2.0)
        assert waiting.done()
        await waiting
