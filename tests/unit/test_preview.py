"""Previews: what the watchers will do, with every change of the clock marked."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.domain.job import LAST_INSTANT
from pipeline.domain.preview import clock_changes, preview
from pipeline.domain.schedule import Schedule
from pipeline.domain.schedule_edit import new_schedule
from tests.builders import an_id

pytestmark = pytest.mark.unit

BERLIN = "Europe/Berlin"
SPRING = datetime(2027, 3, 27, 12, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)
FORWARD = "on 2027-03-28 the clock goes forward from 02:00 to 03:00"
MISSING = "02:30 of 2027-03-28 does not exist: "
BACK = "on 2026-10-25 the clock goes back from 03:00 to 02:00"
ZONES = sorted(available_timezones() - {"localtime"})


def shown(now: datetime, count: int, **body: Any) -> list[tuple[str, list[str]]]:
    schedule = new_schedule(an_id(), {"timezone": BERLIN, **body}, now)
    zone = ZoneInfo(schedule.spec.timezone)
    return [
        (fire.at.astimezone(zone).strftime("%m-%d %H:%M %z"), list(fire.notes))
        for fire in preview(schedule, now, count).fires
    ]


def test_a_missing_time_that_is_shifted_says_so() -> None:
    assert shown(SPRING, 2, cron="30 2 * * *") == [
        (
            "03-28 03:00 +0200",
            [
                FORWARD,
                MISSING + "fires at the moment of the change (gap: shift)",
            ],
        ),
        ("03-29 02:30 +0200", []),
    ]


def test_a_missing_time_that_is_skipped_is_told_with_the_fire_after_it() -> None:
    assert shown(SPRING, 1, cron="30 2 * * *", gap="skip") == [
        (
            "03-29 02:30 +0200",
            [FORWARD, MISSING + "skipped (gap: skip)"],
        )
    ]


def test_what_follows_real_time_is_told_which_wall_clock_times_there_are_not() -> None:
    (fire,) = shown(SPRING + timedelta(hours=12, minutes=50), 1, cron="*/20 * * * *")
    assert fire == (
        "03-28 03:00 +0200",
        [FORWARD, "3 times from 02:00 to 02:40 of 2027-03-28 do not exist: skipped (gap: skip)"],
    )


def test_a_time_that_comes_twice_says_which_of_the_two_it_is() -> None:
    twice = "02:30 comes twice on 2026-10-25: "
    assert shown(AUTUMN, 2, cron="30 2 * * *", repeat="both") == [
        ("10-25 02:30 +0200", [twice + "the first of two fires (repeat: both)"]),
        ("10-25 02:30 +0100", [BACK, twice + "the second of two fires (repeat: both)"]),
    ]
    assert shown(AUTUMN, 2, cron="30 2 * * *") == [
        ("10-25 02:30 +0200", [twice + "fires the first time only (repeat: first)"]),
        ("10-26 02:30 +0100", [BACK]),
    ]
    assert shown(AUTUMN, 1, cron="30 2 * * *", repeat="second") == [
        ("10-25 02:30 +0100", [BACK, twice + "fires the second time only (repeat: second)"]),
    ]


def test_an_interval_is_told_that_its_local_time_moves() -> None:
    fires = shown(SPRING, 3, every=86_400)
    assert fires == [
        ("03-28 14:00 +0200", [FORWARD]),
        ("03-29 14:00 +0200", []),
        ("03-30 14:00 +0200", []),
    ]


def test_a_gap_before_the_start_concerns_nobody() -> None:
    for gap in ("skip", "shift"):
        later = {"cron": "30 2 * * *", "gap": gap, "start_at": "2027-04-01T00:00:00Z"}
        ((_, notes),) = shown(SPRING, 1, **later)
        assert notes == []


def test_what_the_clock_does_before_the_start_is_not_told_of_the_first_fire() -> None:
    twice = "02:30 comes twice on 2027-10-31: the first of two fires (repeat: both)"
    later = {"cron": "30 2 * * *", "repeat": "both", "start_at": "2027-10-30T12:00:00Z"}
    schedule = new_schedule(an_id(), {"timezone": BERLIN, **later}, AUTUMN)
    found = preview(schedule, AUTUMN, 3)
    assert found.fires[0].notes == [twice]
    assert [change.local_before.date().isoformat() for change in found.changes] == ["2027-10-31"]


def test_a_start_at_the_very_change_is_told_of_it() -> None:
    start = {"cron": "30 2 * * *", "start_at": "2027-03-28T01:00:00Z"}
    ((_, notes),) = shown(AUTUMN, 1, **start)
    assert notes == [FORWARD, MISSING + "fires at the moment of the change (gap: shift)"]


def test_jitter_is_told_of_every_fire_and_in_words() -> None:
    fires = shown(SPRING, 2, cron="30 2 * * *", jitter=90)
    spread = "its job is due up to 90 seconds later (jitter)"
    assert [notes[-1] for _, notes in fires] == [spread] * 2
    schedule = new_schedule(an_id(), {"cron": "30 2 * * *", "jitter": 90}, SPRING)
    assert schedule.in_words() == "At 02:30 every day, each up to 90 seconds later"


def test_many_changes_between_two_fires_are_counted() -> None:
    fires = shown(SPRING, 2, cron="0 0 29 2 *")
    assert fires[1][1] == ["the clock changes 8 times before this"]


def test_it_ends_with_the_schedule_and_with_the_year_2200() -> None:
    assert len(shown(SPRING, 10, every=3600, end_at="2027-03-27T15:30:00Z")) == 3
    schedule = new_schedule(an_id(), {"cron": "@yearly"}, SPRING)
    fires = preview(schedule, SPRING, 1000).fires
    assert len(fires) < 1000
    assert fires[-1].at < LAST_INSTANT


def walked(zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """The independent reckoning: every minute of real time; all changes of this century are at
    whole minutes."""
    minutes = int((until - after) / timedelta(minutes=1))
    instants = [after + timedelta(minutes=number) for number in range(minutes + 1)]
    offsets = [at.astimezone(zone).utcoffset() for at in instants]
    pairs = zip(itertools.pairwise(offsets), instants[1:], strict=True)
    return [at for (before, now), at in pairs if before != now]


@example("Africa/Casablanca", 1504)  # Ramadan of 2026: there and back within 35 days
@given(st.sampled_from(ZONES), st.integers(0, 6 * 365))
def test_every_change_of_the_clock_is_found(name: str, day: int) -> None:
    after = datetime(2022, 1, 1, tzinfo=UTC) + timedelta(days=day)
    until = after + timedelta(days=40)
    found = list(clock_changes(ZoneInfo(name), after, until))
    assert [change.at for change in found] == walked(ZoneInfo(name), after, until)
    for change in found:
        assert change.at.astimezone(ZoneInfo(name)).replace(tzinfo=None) == change.local_after


RULES = st.one_of(
    st.sampled_from(
        [
            "30 2 * * *",
            "*/17 * * * *",
            "0 1-3 * * *",
            "15 0,1,2,3 * * 0",
            "H H * * *",
            "59 23 * * *",
            "@hourly",
            "0 */2 * * *",
            "30 1 * * SUN",
        ]
    ).flatmap(
        lambda cron: st.fixed_dictionaries(
            {"cron": st.just(cron)},
            optional={
                "gap": st.sampled_from(["skip", "shift"]),
                "repeat": st.sampled_from(["first", "second", "both"]),
            },
        )
    ),
    st.integers(600, 100_000).map(lambda every: {"every": every}),
)


def following(schedule: Schedule, now: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    while len(found) < count and (now := schedule.next_after(now) or LAST_INSTANT) < LAST_INSTANT:
        found.append(now)
    return found


@given(RULES, st.sampled_from(ZONES), st.integers(0, 6 * 365), st.integers(1, 60))
def test_it_agrees_with_the_watchers_and_marks_every_change_in_the_span(
    rule: dict[str, Any], zone: str, day: int, count: int
) -> None:
    now = datetime(2022, 1, 1, tzinfo=UTC) + timedelta(days=day)
    schedule = new_schedule(an_id(), {**rule, "timezone": zone}, now)
    found = preview(schedule, now, count)
    assert [fire.at for fire in found.fires] == following(schedule, now, count)
    changes = list(clock_changes(ZoneInfo(zone), now, found.fires[-1].at))
    assert list(found.changes) == changes
    for change in changes:
        next_fire = next(fire for fire in found.fires if fire.at >= change.at)
        assert change.in_words() in next_fire.notes or any(
            "the clock changes" in note for note in next_fire.notes
        )
