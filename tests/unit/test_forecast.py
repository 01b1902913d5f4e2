"""The forecast: grouped reckoning against fire by fire."""

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from pipeline.domain.errors import Rejected
from pipeline.domain.forecast import MINUTES, Forecast, spread
from pipeline.domain.schedule import Schedule, fires_after
from pipeline.domain.schedule_edit import edited, new_schedule
from tests.builders import an_id

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 28, 18, 7, 30, tzinfo=UTC)
THIS_MINUTE = NOW.replace(second=0)


def made(at: datetime = NOW - timedelta(days=3), **body: Any) -> Schedule:
    return new_schedule(an_id(), body, at)


def forecast(*schedules: Schedule) -> list[float]:
    reckoning = Forecast(NOW)
    reckoning.add(schedules)
    return reckoning.minutes()


def one_by_one(schedule: Schedule) -> Counter[int]:
    end = THIS_MINUTE + timedelta(minutes=MINUTES)
    fires = fires_after(schedule.spec, schedule.rule, THIS_MINUTE - timedelta(milliseconds=1))
    found = takewhile(lambda fire: fire < end, fires)
    return Counter((fire - THIS_MINUTE) // timedelta(minutes=1) for fire in found)


SCHEDULES = st.one_of(
    st.builds(
        lambda cron, zone: {"cron": cron, "timezone": zone},
        st.sampled_from(["0 9 * * *", "H * * * *", "*/7 2 * * *", "H H * * *", "0 9 * * THU"]),
        st.sampled_from(["UTC", "Europe/Berlin", "Africa/Casablanca", "America/New_York"]),
    ),
    st.builds(
        lambda every: {"every": every},
        st.one_of(st.integers(1, 5000), st.floats(1, 200).map(lambda number: round(number, 3))),
    ),
)
BOUNDS = st.fixed_dictionaries(
    {},
    optional={
        "start_at": st.sampled_from(["2026-03-27T00:00:00.250Z", "2026-03-29T03:00:10Z"]),
        "end_at": st.sampled_from(["2026-03-29T12:00:00Z", "2027-01-01T00:00:00Z"]),
    },
)


@example([{"every": 1, "start_at": "2026-03-27T00:00:00.250Z", "end_at": "2026-03-29T12:00:00Z"}])
@given(st.lists(st.builds(lambda a, b: a | b, SCHEDULES, BOUNDS), min_size=1, max_size=5))
def test_it_counts_what_fires_one_by_one(bodies: list[dict[str, Any]]) -> None:
    try:
        schedules = [made(**body) for body in bodies]
    except Rejected:  # it would never fire within these bounds
        reject()
    expected: Counter[int] = sum((one_by_one(each) for each in schedules), Counter())
    assert forecast(*schedules) == [expected[minute] for minute in range(MINUTES)]


def test_paused_and_finished_schedules_do_not_count() -> None:
    paused = edited(made(every=60), {"paused": True}, NOW)
    finished = edited(made(every=60), {"end_at": "2026-03-28T01:00:00Z"}, NOW)
    assert sum(forecast(paused, finished)) == 0


def test_jitter_is_spread_evenly_from_the_fire_on() -> None:
    fires = [0, 4, 0, 0, 0, 0]
    assert spread(fires, 0) == spread(fires, 60) == fires
    assert spread(fires, 120) == pytest.approx([0, 2, 2, 0, 0, 0])
    assert spread(fires, 150) == pytest.approx([0, 1.6, 1.6, 0.8, 0, 0])
    assert sum(spread(fires, 3600)) == pytest.approx(4 * 5 / 60)  # the rest is beyond the end


def test_a_hundred_thousand_schedules_take_a_second_not_minutes() -> None:
    """Timed with a wide margin: reckoned one by one, these would take a minute."""
    chance = random.Random(1)
    templates = [
        made(every=chance.randrange(30, 7200), start_at=f"2026-03-27T00:00:{second:02}Z")
        for second in range(60)
        for _ in range(5)
    ]
    reckoning = Forecast(NOW)
    began = time.process_time()
    for _ in range(333):
        reckoning.add(templates)
    assert sum(reckoning.minutes()) > 1_000_000
    assert time.process_time() - began < 10


def test_schedules_that_were_made_within_one_minute_are_reckoned_as_one() -> None:
    """A thousand imported a moment ago would else be a thousand walks through the day."""
    step = timedelta(milliseconds=20)
    fresh = [made(NOW - number * step, cron="*/5 * * * *") for number in range(1, 1000)]
    reckoning = Forecast(NOW)
    reckoning.add(fresh)
    assert reckoning.rules == 1
    first, *_ = (count for count in reckoning.minutes() if count)
    assert first == len(fresh)


def test_a_fire_in_the_minute_of_the_start_counts_only_after_it() -> None:
    at_once = made(NOW, cron="* * * * *", start_at="2026-03-28T18:10:00Z")
    later = made(NOW, cron="* * * * *", start_at="2026-03-28T18:10:00.001Z")
    assert forecast(at_once)[2:5] == [0, 1, 1]
    assert forecast(later)[2:5] == [0, 0, 1]
