"""An owner's edits: the whole is checked again, and a changed rule counts from the change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.domain.errors import Rejected
from pipeline.domain.merge_patch import merged
from pipeline.domain.schedule import Every, Schedule
from pipeline.domain.schedule_edit import edited, new_schedule
from tests.builders import an_id

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 1, 12, 0, 0, 1500, tzinfo=UTC)
NINE = {"cron": "0 9 * * *", "job": {"payload": {"a": 1, "b": 2}}}


def made(**body: Any) -> Schedule:
    return new_schedule(an_id(), body, NOW)


def refusals(body: Any) -> dict[str, str]:
    with pytest.raises(Rejected) as refused:
        new_schedule(an_id(), body, NOW)
    return {flaw.pointer: flaw.detail for flaw in refused.value.flaws}


def test_a_new_schedule_fires_next_at_the_first_time_after_now() -> None:
    schedule = made(**NINE)
    assert schedule.next_fire_at == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert schedule.created_at == NOW.replace(microsecond=1000)
    assert schedule.version == 1


def test_an_interval_begins_when_it_was_asked_for_and_fires_first_a_period_later() -> None:
    schedule = made(every=60)
    assert schedule.next_fire_at == schedule.created_at + timedelta(seconds=60)
    later = made(every=60, start_at="2026-05-01T00:00:00Z")
    assert later.next_fire_at == datetime(2026, 5, 1, tzinfo=UTC)


def test_a_period_is_whole_milliseconds_so_that_the_stores_keep_its_fire_times() -> None:
    rule = made(every=1.0004).rule
    assert isinstance(rule, Every)
    assert rule.period == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("body", "pointer", "reason"),
    [
        ({"cron": "0 0 30 2 *"}, "/cron", "no day 30 in month 2"),
        ({"cron": "61 * * * *"}, "/cron", "bad minute"),
        ({"cron": "0 0 * *"}, "/cron", "five fields"),
        ({"cron": "@often"}, "/cron", "@daily"),
        ({"cron": "0 9 * * *", "timezone": "Mars/Olympus"}, "/timezone", "not an IANA"),
        (
            {"cron": "0 9 * * *", "timezone": "europe/berlin"},
            "/timezone",
            "did you mean Europe/Berlin?",
        ),
        ({"cron": "0 9 * * *", "end_at": "2026-03-02T08:00:00Z"}, "/end_at", "never fire"),
        ({"cron": "0 9 * * *", "every": 5}, "", "one of cron and every"),
        ({"job": {}}, "", "one of cron and every"),
        ({"every": 5, "gap": "skip"}, "", "go with cron"),
        ({"every": 0.5}, "/every", "greater than or equal to 1"),
        ({"every": 5, "evry": 6}, "/evry", "not a field"),
        ({"every": 5, "job": {"delay": 3}}, "/job/delay", "the schedule says when"),
        ({"every": 5, "job": {"idempotency_key": "k"}}, "/job/idempotency_key", "says when"),
        ({"every": 5, "job": {"http": {"url": "ftp://x"}}}, "/job/http/url", "http or https"),
        ({"every": 5, "job": {"task": "a", "command": "b"}}, "/job", "one kind"),
        ([], "", "is a JSON object"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place_and_the_reason(
    body: Any, pointer: str, reason: str
) -> None:
    assert reason in refusals(body)[pointer]


def test_a_spread_that_is_a_date_for_some_ids_only_is_refused_for_the_others() -> None:
    drawn = {"refused": 0, "made": 0}
    for _ in range(40):
        try:
            made(cron="0 0 H(28-31) 2 *")
            drawn["made"] += 1
        except Rejected as refused:
            assert refused.flaws[0].pointer == "/cron"
            drawn["refused"] += 1
    assert drawn["made"] > 0 < drawn["refused"]


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [  # the cases of RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_is_that_of_the_standard(value: Any, patch: Any, result: Any) -> None:
    assert merged(value, patch) == result


def test_an_edit_of_the_job_leaves_the_fires_as_they_are() -> None:
    before = replace(made(**NINE, overlap="queue"), is_held=True, next_fire_at=NOW)
    after = edited(before, {"job": {"payload": {"b": None}}}, NOW + timedelta(days=3))
    assert after.body["job"] == {"payload": {"a": 1}}
    assert after.spec.job.payload == {"a": 1}
    assert (after.next_fire_at, after.is_held) == (before.next_fire_at, True)
    assert after.version == before.version + 1


def test_a_changed_rule_counts_from_the_change_and_never_goes_back_over_what_was_decided() -> None:
    decided = datetime(2026, 3, 2, 9, tzinfo=UTC)
    before = replace(made(**NINE), fired_until=decided)
    after = edited(before, {"cron": "* * * * *"}, NOW)
    assert after.next_fire_at == decided + timedelta(minutes=1)


def test_the_fires_of_a_pause_are_passed_over_and_no_misfires() -> None:
    paused = edited(made(**NINE), {"paused": True}, NOW)
    assert paused.look_at is None
    resumed = edited(paused, {"paused": None}, NOW + timedelta(days=30))
    assert resumed.next_fire_at == datetime(2026, 4, 1, 9, tzinfo=UTC)
    assert resumed.body == NINE


def test_a_patch_that_changes_nothing_is_no_new_version() -> None:
    schedule = made(**NINE)
    assert edited(schedule, {"cron": "0 9 * * *"}, NOW) is schedule


def test_a_patch_is_refused_if_the_whole_is_wrong_afterwards() -> None:
    schedule = made(**NINE)
    for patch, pointer in (
        ({"every": 5}, ""),
        ({"cron": None}, ""),
        ({"cron": "0 0 30 2 *"}, "/cron"),
        ({"job": {"run_at": "2026-12-01T06:00:00Z"}}, "/job/run_at"),
        ([1], ""),
    ):
        with pytest.raises(Rejected) as refused:
            edited(schedule, patch, NOW)
        assert refused.value.flaws[0].pointer == pointer
