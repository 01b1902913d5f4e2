"""A change of a job: the whole is checked, the due time stays unless it is spoken of."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipeline.domain.body import MAX_JOB_BYTES
from pipeline.domain.errors import Rejected
from pipeline.domain.job import Job
from pipeline.domain.job_change import changed
from pipeline.domain.states import State
from tests.builders import a_job
from tests.fakes.clock import START

NOW = START + timedelta(minutes=10)
DUE = START + timedelta(hours=1)
RUN_AT = "2026-01-01T13:00:00Z"


def waiting(**body: Any) -> Job:
    return a_job(state=State.QUEUED, due_at=DUE, body=body)


def test_members_are_merged_removed_and_replaced_and_the_job_waits() -> None:
    job = waiting(http={"url": "https://a.example", "headers": {"A": "1", "B": "2"}}, tags=["x"])
    after = changed(job, {"http": {"headers": {"B": None, "C": "3"}}, "tags": ["y"]}, NOW)
    assert after.body == {
        "http": {"url": "https://a.example", "headers": {"A": "1", "C": "3"}},
        "tags": ["y"],
    }
    assert after.spec.tags == ("y",)
    assert (after.state, after.due_at) == (State.PENDING, DUE)
    assert job.body["tags"] == ["x"]


def test_a_job_may_become_another_kind() -> None:
    after = changed(waiting(command="true"), {"command": None, "task": "t", "payload": [1]}, NOW)
    assert (after.spec.kind, after.spec.payload) == ("task", [1])


@pytest.mark.parametrize(
    ("body", "patch", "due_at", "asked"),
    [
        ({"run_at": RUN_AT}, {"delay": 60}, NOW + timedelta(minutes=1), {"delay": 60}),
        ({"delay": 60}, {"run_at": RUN_AT}, START + timedelta(hours=1), {"run_at": RUN_AT}),
        ({"delay": 60}, {"delay": 0.0001}, NOW + timedelta(milliseconds=1), {"delay": 0.0001}),
        ({"run_at": RUN_AT}, {"run_at": None}, NOW, {}),
        ({"run_at": RUN_AT}, {"delay": None}, NOW, {}),
        ({"run_at": RUN_AT}, {"run_at": None, "delay": 5}, NOW + timedelta(seconds=5),
         {"delay": 5}),
        ({"run_at": RUN_AT}, {"name": "n"}, DUE, {"run_at": RUN_AT, "name": "n"}),
    ],
)  # fmt: skip
def test_run_at_and_delay_take_each_others_place_and_set_the_due_time_anew(
    body: Any, patch: Any, due_at: Any, asked: Any
) -> None:
    after = changed(waiting(**body), patch, NOW)
    assert (after.due_at, after.body) == (due_at, asked)


def test_a_retry_keeps_its_time_when_something_else_is_changed() -> None:
    job = replace(waiting(delay=5), due_at=DUE, failures=2)
    after = changed(job, {"priority": 9}, NOW)
    assert (after.due_at, after.failures) == (DUE, 2)


def test_an_expiry_that_a_redrive_has_dropped_is_not_brought_back_by_another_change() -> None:
    job = replace(waiting(expires_at="2026-01-02T00:00:00Z"), expires_at=None)
    assert changed(job, {"priority": 9}, NOW).expires_at is None
    again = changed(job, {"expires_at": "2026-01-03T00:00:00Z"}, NOW)
    assert again.expires_at == again.spec.expires_at


@pytest.mark.parametrize("patch", [{}, {"name": None}, {"payload": 1}])
def test_a_change_that_changes_nothing_leaves_the_job_where_it_is(patch: Any) -> None:
    job = waiting(payload=1)
    assert changed(job, patch, NOW) is job


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ([], ""),
        (None, ""),
        ("name", ""),
        ({"priorty": 1}, "/priorty"),
        ({"priority": 11}, "/priority"),
        ({"priority": True}, "/priority"),
        ({"run_at": RUN_AT, "delay": 5}, ""),
        ({"command": "true"}, ""),
        ({"idempotency_key": "k"}, "/idempotency_key"),
        ({"idempotency_key": None}, "/idempotency_key"),
        ({"id": "x"}, "/id"),
        ({"status": "running"}, "/status"),
        ({"retry": {"base": -1}}, "/retry/base"),
    ],
)
def test_what_would_be_no_job_is_refused_with_its_place(patch: Any, pointer: str) -> None:
    with pytest.raises(Rejected) as refused:
        changed(waiting(task="t", payload=1, priority=1), patch, NOW)
    assert [flaw.pointer for flaw in refused.value.flaws] == [pointer]


def test_a_job_does_not_grow_beyond_its_limit_by_changes() -> None:
    job = waiting(payload={"a": "x" * (MAX_JOB_BYTES // 2)})
    with pytest.raises(Rejected) as refused:
        changed(job, {"payload": {"b": "x" * (MAX_JOB_BYTES // 2)}}, NOW)
    assert refused.value.code == "too_large"
