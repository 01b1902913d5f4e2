"""What users send: either refused with a pointer to the spot, or fit for every store we have."""

import json
import math
import time
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from pipeline.domain.body import MAX_DEPTH, check_value, parse_json, read_json, read_spec
from pipeline.domain.errors import Rejected
from pipeline.domain.job import JobSpec

pytestmark = pytest.mark.unit

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.text(st.sampled_from("\0\ud800\udfff~/é\U0001f600"), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.sampled_from("ab\0\ud800~/$."), max_size=3), inner, max_size=5)
    ),
    max_leaves=30,
)
"""Everything that Python can write as JSON, and what it writes that is none (NaN, Infinity)."""

FIELDS = sorted(JobSpec.model_fields)
objects = st.dictionaries(
    st.sampled_from([*FIELDS, "unknown", "a/b~c"]),
    anything
    | st.sampled_from(["now", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "a-b", 1, 0.5])
    | st.dictionaries(
        st.sampled_from(["url", "headers", "backoff", "base", "auth", "success"]),
        anything | st.sampled_from(["http://x/", "linear", ["2xx"], {"a": "b"}]),
    ),
    max_size=4,
)


def resolve(pointer: str, value: Any) -> Any:
    """What an RFC 6901 pointer points to; KeyError, IndexError or ValueError for nothing."""
    if not pointer:
        return value
    for part in pointer.removeprefix("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def flaws(value: Any) -> list[tuple[str, str]]:
    """What is wrong with this job, as the user is told."""
    with pytest.raises(Rejected) as refused:
        read_spec(value)
    return [(flaw.pointer, flaw.detail) for flaw in refused.value.flaws]


# -- bytes to values


@given(anything)
def test_what_is_read_is_refused_or_survives_every_store(value: Any) -> None:
    try:
        read = read_json(json.dumps(value).encode())
    except Rejected as refused:
        assert refused.code == "malformed"
        return
    assert bson.decode(bson.encode({"v": read}))["v"] == read
    assert read_json(to_json(read)) == read
    assert json.loads(json.dumps(value)) == read


@given(anything)
def test_what_is_refused_is_refused_at_a_place_that_exists(value: Any) -> None:
    try:
        check_value(value)
    except Rejected as refused:
        for flaw in refused.flaws:
            resolve(flaw.pointer, value)


@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}, {"a\0": 1}, [2**63]])
def test_a_value_is_checked_whoever_parsed_it(value: Any) -> None:
    """Our JSON parser refuses lone surrogates itself; another one need not."""
    with pytest.raises(Rejected):
        check_value(value)


@given(st.binary(max_size=60))
def test_bytes_are_json_or_refused(data: bytes) -> None:
    try:
        read_json(data)
    except Rejected as refused:
        assert refused.code == "malformed"


@pytest.mark.parametrize(
    "text",
    [
        "NaN", "Infinity", "-Infinity", "1e999", "-1e999", str(2**63), str(-(2**63) - 1),
        "1" * 5000, "1" * 100_000, '"\\ud800"', '"\\udc00\\ud800"', '{"\\ud800": 1}',
        '{"a\\u0000b": 1}', '{"\\u0000": 1}', "[" * 1000 + "]" * 1000, "[" * 100_000,
        '{"a":' * 1000 + "1" + "}" * 1000, "", " ", "{", '{"a": 1,}', "1 2", "{'a': 1}", "\ufeff{}",
        "nul", '"\x01"',
    ],
)  # fmt: skip
def test_what_no_store_could_keep_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_json(text.encode())
    assert refused.value.code == "malformed"


@pytest.mark.parametrize("data", [b'"\xed\xa0\x80"', b'"\xff"', '{"a": 1}'.encode("utf-16")])
def test_what_is_not_utf8_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected):
        read_json(data)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)),
        ("1e308", 1e308),
        ("1e-999", 0.0),
        ('"a\\u0000b"', "a\0b"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"": 1, "$a.b": 2}', {"": 1, "$a.b": 2}),
    ],
)
def test_the_strange_but_storable_is_kept(text: str, value: Any) -> None:
    assert read_json(text.encode()) == value
    assert bson.decode(bson.encode({"v": value}))["v"] == value


def test_the_sign_of_zero_is_kept() -> None:
    assert math.copysign(1, read_json(b"-0.0")) == -1


def test_an_integer_stays_an_integer_and_a_float_a_float() -> None:
    assert [type(number) for number in read_json(b"[1, 1.0, 1e2]")] == [int, float, float]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_depth_32_is_allowed_and_33_is_not() -> None:
    assert read_json(json.dumps(nested(MAX_DEPTH)).encode())
    with pytest.raises(Rejected) as refused:
        read_json(json.dumps(nested(MAX_DEPTH + 1)).encode())
    assert refused.value.flaws[0].pointer == "/a" * MAX_DEPTH


def test_a_huge_string_is_read_in_no_time() -> None:
    began = time.perf_counter()
    assert len(read_json(b'"' + b"x" * 10_000_000 + b'"')) == 10_000_000
    assert time.perf_counter() - began < 2


def test_a_pointer_escapes_what_the_user_called_his_fields() -> None:
    with pytest.raises(Rejected) as refused:
        read_json(b'{"a/b": {"c~d": [0, 1e999]}}')
    assert refused.value.flaws[0].pointer == "/a~1b/c~0d/1"


def test_parsing_alone_checks_nothing_so_that_elements_can_be_judged_one_by_one() -> None:
    assert parse_json(b"[1e999, 9223372036854775808]")[1] == 2**63


# -- values to specs


@given(objects)
def test_an_object_is_a_spec_or_refused_with_pointers_into_it(body: dict[str, Any]) -> None:
    try:
        check_value(body)
        spec = read_spec(body)
    except Rejected as refused:
        assert refused.flaws
        for flaw in refused.flaws:
            assert flaw.detail
            parent, _, last = flaw.pointer.rpartition("/")
            if flaw.detail == "Field required":
                assert last not in resolve(parent, body)
            else:
                resolve(flaw.pointer, body)
    else:
        assert spec.kind
        assert read_spec(bson.decode(bson.encode(body))) == spec


@pytest.mark.parametrize("value", [None, 1, "text", [], [{}], True])
def test_what_is_no_object_is_no_job(value: Any) -> None:
    assert flaws(value) == [("", "a job is a JSON object")]


def test_every_flaw_is_told_at_once() -> None:
    told = flaws({"priority": 10, "queue": "a b", "delay": -1, "typo": 1})
    assert [pointer for pointer, _ in told] == ["/queue", "/priority", "/delay", "/typo"]
    assert ("/typo", "is not a field of this object") in told


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"queue": "a b"}, "must match pattern"),
        ({"command": ""}, "must have at least 1 character"),
        ({"tags": ["x"] * 21}, "must have at most 20 items"),
        ({"priority": 10}, "must be less than or equal to 9"),
    ],
)
def test_a_flaw_does_not_speak_of_strings_and_inputs(body: dict[str, Any], said: str) -> None:
    ((_, told),) = flaws(body)
    assert told.startswith(said)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"http": {}}, "/http/url"),
        ({"amqp": {"headers": {"k": {"!int8": 500}}}}, "/amqp/headers"),
        ({"amqp": {"headers": {"k" * 256: 1}}}, f"/amqp/headers/{'k' * 256}"),
        ({"retry": {"backoff": {"a": 1}}}, "/retry/backoff"),
        ({"retry": {"backoff": [1, "x"]}}, "/retry/backoff/1"),
        ({"command": {"a": 1}}, "/command/a"),
        ({"command": ["a", 1]}, "/command/1"),
        ({"tags": ["ok", "not ok"]}, "/tags/1"),
        ({"http": {"url": "http://x", "a/b": 1}}, "/http/a~1b"),
        ({"http": {"url": "http://x", "headers": {"~": 1}}}, "/http/headers/~0"),
    ],
)
def test_a_flaw_points_to_what_the_user_wrote_not_to_how_we_read_it(
    body: dict[str, Any], pointer: str
) -> None:
    assert pointer in [at for at, _ in flaws(body)]
