"""What may be asked for, and what a spec then says of itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.domain.amqp_work import AmqpWork
from pipeline.domain.body import read_spec
from pipeline.domain.command_work import CommandWork
from pipeline.domain.errors import Rejected
from pipeline.domain.http_work import HttpWork
from pipeline.domain.job import Kind, OnLost, TaskWork
from pipeline.domain.retry import Backoff, Jitter, RetryPolicy
from tests.builders import a_job, a_submission
from tests.fakes.clock import START

pytestmark = pytest.mark.unit

URL = {"url": "https://example.org/hook"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def refused(body: dict[str, Any]) -> dict[str, str]:
    """Pointer → detail of every flaw."""
    with pytest.raises(Rejected) as rejected:
        read_spec(body)
    assert rejected.value.code == "invalid"
    return {flaw.pointer: flaw.detail for flaw in rejected.value.flaws}


# -- defaults and kinds


def test_an_empty_object_is_a_whole_job() -> None:
    spec = read_spec({})
    assert (spec.queue, spec.priority, spec.timeout, spec.on_lost) == (
        "default", 5, 300, OnLost.RETRY,
    )  # fmt: skip
    assert spec.retry == RetryPolicy(
        max_attempts=5, backoff=Backoff.EXPONENTIAL, base=10, factor=2, max_delay=3600,
        jitter=Jitter.FULL,
    )  # fmt: skip
    assert (spec.kind, spec.work) == (Kind.TASK, TaskWork("echo", None))


def test_a_payload_alone_is_echoed() -> None:
    assert read_spec({"payload": "test job"}).work == TaskWork("echo", "test job")


@pytest.mark.parametrize(
    ("body", "kind", "work"),
    [
        ({"task": "reports.nightly", "payload": 1}, Kind.TASK, TaskWork("reports.nightly", 1)),
        ({"http": URL}, Kind.HTTP, HttpWork(url=URL["url"])),
        ({"amqp": {"exchange": "e"}}, Kind.AMQP, AmqpWork(exchange="e")),
        ({"amqp": {}}, Kind.AMQP, AmqpWork()),
        ({"command": "echo hi"}, Kind.COMMAND, CommandWork("echo hi")),
        ({"command": ["echo", "hi"]}, Kind.COMMAND, CommandWork(["echo", "hi"])),
        (
            {
                "command": {
                    "argv": ["a", "b"],
                    "env": {"K": "v"},
                    "cwd": "/x",
                    "stdin": "in",
                    "success": [0, 1],
                    "not_retryable": [2],
                }
            },
            Kind.COMMAND,
            CommandWork(["a", "b"], {"K": "v"}, "/x", "in", [0, 1], [2]),
        ),
    ],
)
def test_each_kind_knows_its_work(body: dict[str, Any], kind: Kind, work: object) -> None:
    spec = read_spec(body)
    assert (spec.kind, spec.work) == (kind, work)


def test_http_defaults() -> None:
    work = read_spec({"http": URL}).work
    assert isinstance(work, HttpWork)
    assert (work.method, work.timeout, work.success, work.headers) == ("GET", 10, ["2xx"], {})


# -- what excludes what


@pytest.mark.parametrize(
    "body",
    [
        {"http": URL, "command": "true"},
        {"task": "a", "amqp": {}},
        {"task": "a", "http": URL, "amqp": {}, "command": "true"},
        {"run_at": "2026-12-01T06:00:00Z", "delay": 1},
        {"run_at": "2026-12-01T06:00:00Z", "delay": 0},
        {"http": URL, "payload": 1},
        {"http": URL, "payload": None},
        {"command": "true", "payload": {}},
        {"run_at": "2026-12-01T06:00:00Z", "expires_at": "2026-12-01T06:00:00Z"},
    ],
)
def test_what_contradicts_itself_is_refused_as_a_whole(body: dict[str, Any]) -> None:
    assert list(refused(body)) == [""]


def test_the_two_kinds_are_named() -> None:
    assert "http, command" in refused({"http": URL, "command": "true"})[""]


def test_null_means_not_asked_for() -> None:
    nulls = ("name", "run_at", "delay", "http", "amqp", "command", "task", "expires_at")
    assert read_spec(dict.fromkeys(nulls)).kind is Kind.TASK


# -- field by field

BAD: list[tuple[str, list[Any]]] = [
    ("queue", ["", "a b", "-a", "_a", "a.b", "a" * 65, "é", "a\n", 1, None]),
    ("priority", [-1, 10, 5.0, 5.5, "5", True, None]),
    ("delay", [-1, -0.001, 1e12, "5", True]),
    ("timeout", [0, -1, 30 * 86_400 + 1, "5", True, None]),
    ("tags", [["a b"], ["a"] * 21, "a", [1]]),
    ("name", ["x" * 201, 1]),
    ("task", ["", "a b", ".a", "a/b", "a" * 129]),
    ("command", ["", [], [""], "a\0b", ["a", "b\0"], ["a"] * 1001, 5, {},
                 {"argv": ["a"], "shell": "b"}, {"argv": []}, {"shell": ""}, {"run": "a"},
                 {"shell": "a", "env": {"1": "x"}}, {"shell": "a", "env": {"DUEQ_JOB_ID": "x"}},
                 {"shell": "a", "env": {"A": "b\0"}}, {"shell": "a", "env": {"A": 1}},
                 {"shell": "a", "env": {"PASSWORD": "[redacted]"}}, {"shell": "a", "cwd": "b"},
                 {"shell": "a", "success": []}, {"shell": "a", "success": [256]},
                 {"shell": "a", "success": [0, 2], "not_retryable": [2]}]),
    ("idempotency_key", ["", "k" * 256, 1]),
    ("on_lost", ["die", "", None, True]),
    ("retry", [{"max_attempts": 0}, {"max_attempts": 1001}, {"base": -1}, {"factor": 0.5},
               {"backoff": []}, {"backoff": [1] * 101}, {"backoff": "random"}, {"jitter": "some"},
               {"max_attempts": True}, {"max_attempts": "5"}, {"base": "10"}, {"base": True},
               {"max_delay": 1e9}, {"tries": 3}, 5, None]),
    ("run_at", ["2026-12-01T06:00:00", "2026-12-01", "tomorrow", 1_764_000_000, 1e9, "", True,
                "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00",
                "0001-01-01T00:00:00+12:00", "2026-02-30T00:00:00Z", "2026-12-01T06:00:00+25:00"]),
    ("http", [{}, {"url": ""}, {"url": "ftp://x/"}, {"url": "http://"}, {"url": "//x/"},
              {"url": "http://a b/"}, {"url": "http://x/\n"}, {"url": "http://u:p@x/"},
              {"url": "http://u@x/"}, {"url": "http://x:99999/"}, {"url": "http://[::1"},
              {"url": "http://x/", "method": "get"}, {"url": "http://x/", "method": "G\n"},
              {"url": "http://x/", "headers": {"a b": "c"}},
              {"url": "http://x/", "headers": {"a": "b\r\nc: d"}},
              {"url": "http://x/", "headers": {"a\n": "b"}},
              {"url": "http://x/", "headers": {"": "b"}},
              {"url": "http://x/", "headers": {"Host": "y"}},
              {"url": "http://x/", "headers": {"X-Token": "a", "x-token": "b"}},
              {"url": "http://x/", "headers": {"content-LENGTH": "1"}},
              {"url": "http://x/", "headers": {"Connection": {"secret": "A"}}},
              {"url": "http://x/", "auth": {"header": {"name": "Transfer-Encoding",
                                                       "value": {"secret": "A"}}}},
              {"url": "http://x/", "auth": {"type": "basic"}}, {"url": "http://x/", "auth": {}},
              {"url": "http://x/", "auth": {"bearer": "a word"}},
              {"url": "http://x/", "auth": {"bearer": {"secret": "../x"}}},
              {"url": "http://x/", "auth": {"bearer": {"secret": "A"}, "header": {
                  "name": "X", "value": {"secret": "A"}}}},
              {"url": "http://x/", "auth": {"header": {"name": "a b", "value": {"secret": "A"}}}},
              {"url": "http://x/", "auth": {"basic": {"username": "a:b",
                                                      "password": {"secret": "A"}}}},
              {"url": "http://x/", "auth": {"bearer": {"secret": "A"}},
               "headers": {"authorization": "x"}},
              {"url": "http://x/", "headers": {"X-Token": "[redacted]"}},
              {"url": "http://x/", "headers": {"X": {"secret": "a.b"}}},
              {"url": "http://x/", "headers": {"X": {"secret": "A", "plain": "b"}}},
              {"url": "http://x/", "body": 1, "form": {}}, {"url": "http://x/", "form": []},
              {"url": "http://x/", "body": 0, "body_base64": ""},
              {"url": "http://x/", "body_base64": "a b"},
              {"url": "http://x/", "query": {"a": None}},
              {"url": "http://x/", "query": {"a": True}}, {"url": "http://x/", "query": {"a": {}}},
              {"url": "http://x/", "signature": "whsec_x"}, {"url": "http://x/", "redirects": 21},
              {"url": "http://x/", "redirects": True}, {"url": "http://x/", "connect_timeout": 0},
              {"url": "http://x/", "method": "CONNECT"},
              {"url": "http://x/", "not_retryable": ["9xx"]},
              {"url": "http://x/", "success": []}, {"url": "http://x/", "success": ["6xx"]},
              {"url": "http://x/", "success": ["200\n"]}, {"url": "http://x/", "timeout": 0}, []]),
    ("amqp", [{"exchange": "dueq.jobs"}, {"routing_key": "dueq.submit"}, {"exchange": "a\0"},
              {"exchange": "x" * 256}, {"exchange": "ä" * 128},
              {"headers": {"a": {"!int8": 300}}}, {"queue": "q"}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in BAD for value in values]
)
def test_a_bad_value_is_refused_at_its_field(field: str, value: Any) -> None:
    assert all(pointer.startswith(f"/{field}") for pointer in refused({field: value}))


GOOD: list[tuple[str, list[Any]]] = [
    ("queue", ["a", "A-b_9", "a" * 64]),
    ("priority", [0, 9]),
    ("delay", [0, 0.001, 5, 10 * 366 * 86_400]),
    ("timeout", [0.001, 1, 30 * 86_400]),
    ("tags", [[], ["a"] * 20]),
    ("task", ["a", "a.b.c", "a-b_c"]),
    ("retry", [{}, {"max_attempts": 1}, {"backoff": [0, 1.5]}, {"base": 0}, {"factor": 1}]),
    ("run_at", ["2026-12-01T06:00:00Z", "2026-12-01t06:00:00z", "2026-12-01 06:00:00+05:30",
                "1970-01-01T00:00:00Z", "2199-12-31T23:59:59.999Z"]),
    ("http", [{"url": "http://[::1]:8080/a?b#c"}, {"url": "HTTP://X"},
              {"url": "http://x/", "auth": None, "headers": {"X": {"secret": "a_b-1"}}},
              {"url": "http://x/", "auth": {"basic": {"password": {"secret": "A"}}}},
              {"url": "http://x/", "form": {"a": ["b", 1, 1.5]}, "not_retryable": []},
              {"url": "http://x/", "success": ["2xx", "404"], "body": {"any": [1]}}]),
    ("amqp", [{"exchange": "e", "routing_key": "dueq.submit"}, {"headers": {"a": 1, "b": True}}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in GOOD for value in values]
)
def test_the_edge_of_what_is_allowed_is_allowed(field: str, value: Any) -> None:
    read_spec({field: value})


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        read_spec({}).queue = "other"  # type: ignore[misc]


# -- when it is due


def test_a_time_in_another_zone_is_the_same_instant() -> None:
    spec = read_spec({"run_at": "2026-12-01T06:00:00+02:00"})
    assert spec.run_at == datetime(2026, 12, 1, 4, tzinfo=UTC)
    assert spec.run_at.tzinfo is UTC


@given(st.integers(0, 72 * 10**14).map(lambda n: EPOCH + timedelta(microseconds=n)))
def test_a_run_at_is_never_early_and_less_than_a_millisecond_late(at: datetime) -> None:
    due = read_spec({"run_at": at.isoformat()}).due_after(START)
    assert timedelta(0) <= due - at < MS


@given(st.floats(0.001, 1e8), st.integers(0, 999_999))
def test_a_delay_counts_from_acceptance_and_is_never_cut_short(delay: float, spare: int) -> None:
    accepted = START + timedelta(microseconds=spare)
    due = a_submission(at=accepted, delay=delay).due_at
    assert timedelta(0) <= due - (accepted + timedelta(seconds=delay)) < MS
    assert due.microsecond % 1000 == 0


@given(st.integers(0, 999_999))
def test_what_is_due_at_once_is_due_when_it_was_accepted(spare: int) -> None:
    accepted = START + timedelta(microseconds=spare)
    for due in (a_submission(at=accepted).due_at, a_submission(at=accepted, delay=0).due_at):
        assert accepted - MS < due <= accepted


def test_the_last_instant_with_the_longest_delay_can_still_be_scored() -> None:
    accepted = datetime(2199, 12, 31, tzinfo=UTC)
    assert a_submission(at=accepted, delay=10 * 366 * 86_400).due_at.year < 2286


def test_a_job_and_its_submission_tell_redis_the_same() -> None:
    submission = a_submission(queue="q", priority=7, delay=5)
    job = a_job(id=submission.id, spec=submission.spec, due_at=submission.due_at)
    assert job.entry == submission.entry
    assert (job.entry.queue, job.entry.priority) == ("q", 7)
