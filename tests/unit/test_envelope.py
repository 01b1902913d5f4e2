"""The gateway's own message, and what a stranger might put into it."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.body import MAX_JOB_BYTES, check_value, parse_json
from pipeline.domain.envelope import encode_accepted, read_accepted
from pipeline.domain.errors import Rejected
from pipeline.domain.job import Submission
from tests.builders import a_submission, an_id
from tests.fakes.clock import START

pytestmark = pytest.mark.unit

MIB = 1024 * 1024
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
payloads = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts.filter(lambda key: "\0" not in key), inner, max_size=4)
    ),
    max_leaves=20,
)


def travelled(*submissions: Submission) -> list[Submission]:
    """What arrives."""
    return [
        read_accepted(element)
        for message in encode_accepted(submissions)
        for element in parse_json(message)
    ]


def an_element(**fields: Any) -> dict[str, Any]:
    return {"id": an_id(), "accepted_at": START.isoformat(), "spec": {}, **fields}


def flaws(element: Any) -> list[str]:
    with pytest.raises(Rejected) as refused:
        read_accepted(element)
    return [flaw.pointer for flaw in refused.value.flaws]


# -- there and back


@given(payloads, st.booleans(), st.integers(0, 999_999))
def test_a_submission_arrives_as_it_was_accepted(
    payload: Any, keyed: bool, microseconds: int
) -> None:
    at = START + timedelta(microseconds=microseconds)
    sent = a_submission(at=at, keyed=keyed, payload=payload, name="n", delay=1.5)
    assert travelled(sent) == [sent]


def test_the_trace_context_arrives() -> None:
    sent = Submission(an_id(), START, a_submission().spec, {}, traceparent=TRACE)
    assert travelled(sent)[0].traceparent == TRACE


def test_types_of_numbers_survive_so_that_the_fingerprint_does() -> None:
    sent = a_submission(payload=[1, 1.0, 1e22, -0.0, 0.1])
    assert json.dumps(travelled(sent)[0].body) == json.dumps(sent.body)


# -- limits


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1000, 1001])
def test_at_most_500_jobs_travel_together_and_all_do_in_order(count: int) -> None:
    sent = [a_submission() for _ in range(count)]
    messages = [parse_json(message) for message in encode_accepted(sent)]
    assert len(messages) == -(-count // 500)
    assert [element["id"] for message in messages for element in message] == [s.id for s in sent]


@given(st.lists(st.integers(150_000, MAX_JOB_BYTES - 100), max_size=12))
def test_no_message_is_larger_than_a_mebibyte(sizes: list[int]) -> None:
    sent = [a_submission(payload="x" * size) for size in sizes]
    messages = list(encode_accepted(sent))
    assert all(len(message) <= MIB for message in messages)
    assert sum(len(parse_json(message)) for message in messages) == len(sent)
    for one, next_one in pairwise(messages):
        assert len(one) + len(next_one) > MIB, "they would have gone together"


def test_a_job_that_grows_when_it_is_written_again_still_travels() -> None:
    """`1e15` has 4 characters as a user writes it and 18 as we do: the worst that JSON has."""
    text = '{"payload":[' + ",".join(["1e15"] * (MAX_JOB_BYTES // 5 - 5)) + "]}"
    assert len(text) <= MAX_JOB_BYTES
    sent = a_submission(**parse_json(text.encode()))
    (message,) = encode_accepted([sent])
    assert MAX_JOB_BYTES < len(message) <= MIB
    assert travelled(sent) == [sent]


def test_a_job_as_deep_as_allowed_is_as_deep_as_allowed_in_its_envelope() -> None:
    """The envelope's own two levels are ours: what was answered 202 must not be parked for them."""
    payload: Any = 1
    for _ in range(31):
        payload = [payload]
    sent = a_submission(payload=payload)
    check_value(sent.body)
    assert travelled(sent) == [sent]
    with pytest.raises(Rejected):
        travelled(a_submission(payload=[payload]))


# -- strangers


@pytest.mark.parametrize("element", [None, 1, "text", [], [[]], True, 1.5])
def test_what_is_no_object_is_refused(element: Any) -> None:
    assert flaws(element) == [""]


@pytest.mark.parametrize("job_id", [None, "", "x", 5, [], {}, "../../etc", "a" * 36, True])
def test_an_id_is_a_uuid(job_id: Any) -> None:
    assert flaws(an_element(id=job_id)) == ["/id"]


def test_one_id_has_one_spelling() -> None:
    """Spelt in two ways it would be stored twice."""
    upper = "0190A5D0-AC96-7000-8000-00000000000A"
    for spelling in (upper, f"{{{upper}}}", f"urn:uuid:{upper}", upper.replace("-", "")):
        assert read_accepted(an_element(id=spelling)).id == upper.lower()


@pytest.mark.parametrize(
    "accepted_at",
    [
        None, "", "now", 5, 1e9, [], "2026-01-01", "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+01:00", "0001-01-01T00:00:00+00:00", "1969-12-31T23:59:59+00:00",
        "2200-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00",
    ],
)  # fmt: skip
def test_an_acceptance_is_an_instant_that_can_be_reckoned_with(accepted_at: Any) -> None:
    """The year 9999 plus a delay is no date, and before 1970 a score changes its priority."""
    assert flaws(an_element(accepted_at=accepted_at)) == ["/accepted_at"]


def test_utc_may_be_written_with_z() -> None:
    read = read_accepted(an_element(accepted_at="2026-01-01T00:00:00Z"))
    assert read.accepted_at == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("trace", [5, "", "x" * 55, TRACE + "\r\nHost: evil", TRACE.upper(), {}])
def test_nothing_but_a_trace_context_passes_into_headers_of_others(trace: Any) -> None:
    assert flaws(an_element(traceparent=trace)) == ["/traceparent"]


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        (None, "/spec"),
        ([], "/spec"),
        ({"queue": "a b"}, "/spec/queue"),
        ({"payload": 2**63}, "/spec/payload"),
        ({"payload": [float("inf")]}, "/spec/payload/0"),
        ({"payload": {"a\0": 1}}, "/spec/payload"),
        ({"http": {"url": "x"}}, "/spec/http/url"),
    ],
)
def test_a_flaw_in_the_spec_is_found_inside_the_element(spec: Any, pointer: str) -> None:
    assert flaws(an_element(spec=spec)) == [pointer]


def test_a_missing_field_is_no_crash() -> None:
    for field in ("id", "accepted_at", "spec"):
        element = an_element()
        del element[field]
        assert flaws(element) == [f"/{field}"]


@pytest.mark.parametrize("keyed", ["true", 1, None, [True]])
def test_only_true_means_keyed(keyed: Any) -> None:
    assert not read_accepted(an_element(keyed=keyed)).keyed
