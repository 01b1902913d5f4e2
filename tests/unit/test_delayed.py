"""A message for later, as the job that publishes it."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.body import MAX_JOB_BYTES, read_spec
from pipeline.domain.delayed import MAX_DELAYED_BYTES, read_delayed
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.fields import Header, read_table, value_from_json, write_table
from pipeline.domain.job import JobSpec
from pipeline.domain.properties import properties_from_json, read_properties, write_properties
from tests.fakes.clock import START
from tests.fields import properties

pytestmark = pytest.mark.unit


def delayed(
    body: bytes = b"hello", routing_key: str = "greet", said: Any = None, **headers: Any
) -> tuple[JobSpec, Any]:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_delayed(body, routing_key, properties_from_json(said or {}, told))


def refused(**headers: Any) -> Flaw:
    with pytest.raises(Rejected) as rejected:
        delayed(**headers)
    return rejected.value.flaws[0]


def due(**headers: Any) -> timedelta:
    spec, _ = delayed(**headers)
    return spec.due_after(START) - START


# -- when


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1500, 1.5), ("1500", 1.5), ({"!int32": 1500}, 1.5), ({"!int16": 3}, 0.003), (0, 0),
     (-5000, 0), ("-1", 0), ({"!uint32": 2**32 - 1}, 4294967.295), (1, 0.001)],
)  # fmt: skip
def test_x_delay_is_milliseconds_of_any_width_and_none_is_early(value: Any, seconds: float) -> None:
    assert due(x_delay=value) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", ["", "1.5", "soon", "1_000", 1.5, True, None, [1], {"a": 1}, 2**62, "9" * 30,
              {"!timestamp": 5}, {"!float32": 1.0}]
)  # fmt: skip
def test_another_x_delay_is_refused_at_its_place(value: Any) -> None:
    assert refused(x_delay=value).pointer == "/headers/x-delay"


def test_the_longest_x_delay_is_told_in_milliseconds_as_it_is_written() -> None:
    longest = 10 * 366 * 86_400_000
    assert due(x_delay=longest) == timedelta(milliseconds=longest)
    for value in (longest + 1, str(longest + 1), 10**18 - 1):
        assert f"at most {longest} milliseconds" in refused(x_delay=value).detail


AT = datetime(2026, 3, 1, 8, 30, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "at"),
    [("2026-03-01T08:30:00.250Z", AT), ("2026-03-01T09:30:00.250+01:00", AT),
     (int(AT.timestamp() * 1000), AT), (str(int(AT.timestamp() * 1000)), None),
     ({"!timestamp": int(AT.timestamp())}, AT.replace(microsecond=0)),
     ("2020-01-01T00:00:00Z", datetime(2020, 1, 1, tzinfo=UTC))],
)  # fmt: skip
def test_x_deliver_at_is_a_time_in_each_of_three_ways(value: Any, at: datetime | None) -> None:
    if at is None:
        assert refused(x_deliver_at=value).pointer == "/headers/x-deliver-at"
    else:
        assert delayed(x_deliver_at=value)[0].run_at == at


@pytest.mark.parametrize(
    "value", ["2026-03-01T08:30:00", "tomorrow", -1, 2**62, {"!timestamp": 2**60}, 1.5, None]
)
def test_another_x_deliver_at_is_refused_at_its_place(value: Any) -> None:
    assert refused(x_deliver_at=value).pointer == "/headers/x-deliver-at"


def test_seconds_where_milliseconds_belong_are_refused_and_not_sent_at_once() -> None:
    assert "Unix time in seconds" in refused(x_deliver_at=int(AT.timestamp())).detail
    assert delayed(x_deliver_at=0)[0].run_at == datetime(1970, 1, 1, tzinfo=UTC)


def test_neither_and_both_are_refused() -> None:
    assert "one of" in refused().detail
    assert "one of" in refused(x_delay=1, x_deliver_at=1).detail


# -- where


def test_without_a_target_it_goes_to_the_queue_that_its_routing_key_names() -> None:
    spec, _ = delayed(x_delay=1)
    assert spec.amqp is not None
    assert (spec.amqp.exchange, spec.amqp.routing_key) == ("", "greet")


def test_the_headers_name_another_target() -> None:
    spec, _ = delayed(x_delay=1, x_exchange="theirs", x_routing_key="")
    assert spec.amqp is not None
    assert (spec.amqp.exchange, spec.amqp.routing_key) == ("theirs", "")


@pytest.mark.parametrize(
    ("headers", "pointer"),
    [({"x_exchange": "dueq.jobs"}, "/headers/x-exchange"),
     ({"x_exchange": "dueq.delay"}, "/headers/x-exchange"),
     ({"x_routing_key": "dueq.submit"}, "/headers/x-routing-key"),
     ({"x_exchange": 5}, "/headers/x-exchange"),
     ({"x_routing_key": "k" * 256}, "/headers/x-routing-key"),
     ({"CC": ["dueq.submit"]}, "/headers")],
)  # fmt: skip
def test_our_own_doors_are_no_target(headers: dict[str, Any], pointer: str) -> None:
    assert refused(x_delay=1, **headers).pointer == pointer


def test_a_key_that_looks_like_ours_is_free_where_an_exchange_is_named() -> None:
    spec, _ = delayed(x_delay=1, x_exchange="theirs", x_routing_key="dueq.submit")
    assert spec.amqp is not None
    assert spec.amqp.routing_key == "dueq.submit"


# -- what


@given(properties(), st.binary(max_size=200))
def test_whatever_a_message_says_is_said_again_byte_for_byte(raw: bytes, body: bytes) -> None:
    """But for our own headers and `user_id`; and the job survives its way through JSON."""
    values = read_properties(raw)
    theirs = read_table(values.get("headers", b""))
    asked = [(b"x-delay", value_from_json(5)), *theirs, (b"x-exchange", value_from_json("theirs"))]
    sent = write_properties({**values, "headers": write_table(asked), "user_id": b"guest"})
    _, stored = read_delayed(body, "key", sent)

    work = read_spec(json.loads(json.dumps(stored))).amqp
    assert work is not None
    if not theirs:
        values.pop("headers", None)
    assert work.raw_properties({"priority": 9}, {"DueQ-Attempt": "1"}) == write_properties(values)
    text = work.body if work.body_base64 is None else base64.b64decode(work.body_base64)
    assert (text.encode() if isinstance(text, str) else text) == body


@pytest.mark.parametrize(
    "theirs",
    [[(b"twice", b"B\1"), (b"twice", b"B\2")], [(b"own", value_from_json({"a": 5}))],
     [(b"own", b"F\0\0\0\x08\x05!int8B\5")], [(b"yes", b"t\2")], [(b"\xff", b"V")]],
)  # fmt: skip
def test_what_json_would_say_differently_is_kept_as_bytes(theirs: list[Header]) -> None:
    """A name twice, a table that looks like one of our types, a boolean of 2, a name not UTF-8."""
    asked = [*theirs, (b"x-delay", value_from_json(5))]
    spec, _ = read_delayed(b"", "key", write_properties({"headers": write_table(asked)}))
    assert spec.amqp is not None
    expected = write_properties({"headers": write_table(theirs)})
    assert spec.amqp.raw_properties({}, {}) == expected


def test_a_person_can_read_what_json_can_hold() -> None:
    _, body = delayed(b"hello", said={"message_id": "m", "priority": 3}, x_delay=1500, kind="new",
                      size={"!int32": 5})  # fmt: skip
    assert body == {
        "amqp": {
            "exchange": "", "routing_key": "greet", "body": "hello", "verbatim": True,
            "properties": {"message_id": "m", "priority": 3},
            "headers": {"kind": "new", "size": {"!int32": 5}},
        },
        "retry": {"max_attempts": 20}, "delay": 1.5,
    }  # fmt: skip


def test_a_count_of_the_brokers_own_is_not_passed_on() -> None:
    _, body = delayed(x_delay=1, x_delivery_count=3)
    assert "headers" not in body["amqp"]


def test_the_largest_body_fits_a_job_whatever_it_is_made_of() -> None:
    for body in (b"\0" * MAX_DELAYED_BYTES, b"\xff" * MAX_DELAYED_BYTES, b"a" * MAX_DELAYED_BYTES):
        _, job = delayed(body, x_delay=1, note="n" * 50_000)
        assert len(json.dumps(job)) <= MAX_JOB_BYTES


def test_what_is_larger_is_refused() -> None:
    with pytest.raises(Rejected) as rejected:
        delayed(b"x" * (MAX_DELAYED_BYTES + 1), x_delay=1)
    assert rejected.value.code == "too_large"
    with pytest.raises(Rejected) as rejected:
        delayed(b"\xff" * MAX_DELAYED_BYTES, x_delay=1, note="n" * 100_000)
    assert (rejected.value.code, rejected.value.flaws[0].pointer) == ("too_large", "/headers")
