"""Whole milliseconds, and never early."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.instants import from_ms, to_ms, whole_ms_down, whole_ms_up

pytestmark = pytest.mark.unit

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
instants = st.integers(-(10**16) // 3, 76 * 10**14).map(lambda n: EPOCH + timedelta(microseconds=n))


@given(instants)
def test_up_is_the_first_whole_millisecond_not_before(instant: datetime) -> None:
    up = whole_ms_up(instant)
    assert up.microsecond % 1000 == 0
    assert timedelta(0) <= up - instant < MS


@given(instants)
def test_down_is_the_last_whole_millisecond_not_after(instant: datetime) -> None:
    down = whole_ms_down(instant)
    assert down.microsecond % 1000 == 0
    assert timedelta(0) <= instant - down < MS


@given(instants)
def test_milliseconds_are_rounded_down_also_before_1970(instant: datetime) -> None:
    assert from_ms(to_ms(instant)) == whole_ms_down(instant)


@given(st.integers(-(10**12), 7 * 10**12))
def test_milliseconds_read_back_exactly(ms: int) -> None:
    """A float would lose the last digit of some."""
    assert to_ms(from_ms(ms)) == ms


def test_rounding_up_carries_into_the_next_second_and_year() -> None:
    last = datetime(2026, 12, 31, 23, 59, 59, 999_001, tzinfo=UTC)
    assert whole_ms_up(last) == datetime(2027, 1, 1, tzinfo=UTC)
