"""What a message says, element by element."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.body import MAX_JOB_BYTES, parse_json
from pipeline.domain.envelope import ACCEPTED_KEY, encode_accepted
from pipeline.domain.identity import id_of_element, id_of_key
from pipeline.intake import Bad, Good, Read, read_delivery
from tests.builders import a_submission, an_id
from tests.fakes.clock import START, SeededChance
from tests.fakes.mailbox import FakeMailbox

pytestmark = pytest.mark.unit

BAD_ELEMENTS: list[str] = [
    '{"queue": "a b"}', '{"typo": 1}', "5", "null", "[]", '{"payload": 1e999}',
    '{"payload": 9223372036854775808}', '{"payload": {"a\\u0000": 1}}',
    '{"payload": ' + "[" * 40 + "]" * 40 + "}", '{"run_at": "9999-12-31T23:59:59-12:00"}',
    '{"payload": "' + "x" * MAX_JOB_BYTES + '"}',
]  # fmt: skip


def read(body: bytes | str, *, seed: int = 1, **fields: Any) -> Sequence[Read]:
    raw = body if isinstance(body, bytes) else body.encode()
    return read_delivery(FakeMailbox().deliver(raw, **fields), START, SeededChance(seed))


def ids(reads: Sequence[Read]) -> list[str]:
    return [each.submission.id for each in reads if isinstance(each, Good)]


def lone(body: Any, **fields: Any) -> Good:
    (only,) = read(json.dumps(body), **fields)
    assert isinstance(only, Good), only
    return only


def a_bad(body: bytes | str, **fields: Any) -> Bad:
    (only,) = read(body, **fields)
    assert isinstance(only, Bad), only
    return only


# -- anybody's messages


def test_a_lone_job_is_read_as_it_was_written_and_accepted_now() -> None:
    submission = lone({"name": "n", "delay": 5}).submission
    assert (submission.body, submission.accepted_at) == ({"name": "n", "delay": 5}, START)
    assert not submission.keyed


def test_an_array_is_read_in_order() -> None:
    reads = read('[{"payload": 0}, {"payload": 1}, {"payload": 2}]')
    assert [r.submission.body["payload"] for r in reads if isinstance(r, Good)] == [0, 1, 2]
    assert [r.index for r in reads] == [0, 1, 2]
    assert len(set(ids(reads))) == 3


@pytest.mark.parametrize("key", ["job.submit", ACCEPTED_KEY])
def test_an_empty_array_is_answered_and_parked_if_nobody_asked(key: str) -> None:
    """Acknowledged without a word it would be lost to whoever meant to send jobs."""
    assert read("[]", routing_key=key, reply_to="answers") == []
    bad = a_bad("[]", routing_key=key)
    assert (bad.body, bad.error.code) == (b"[]", "invalid")


@pytest.mark.parametrize("element", ['[{"name": "nested"}]', "[]", "[[]]", "[{}, {}]"])
@pytest.mark.parametrize("key", ["job.submit", ACCEPTED_KEY])
def test_an_array_in_an_array_stays_a_bad_element_however_often_it_comes_again(
    key: str, element: str
) -> None:
    """Parked bare, it would be jobs when it is submitted again, or none, and not what was sent."""
    body = f"[{element}]".encode()
    for _ in range(3):
        bad = a_bad(body, routing_key=key)
        assert bad.error.code == "invalid"
        assert parse_json(bad.body) == [json.loads(element)]
        body = bad.body


@pytest.mark.parametrize("bad", BAD_ELEMENTS)
def test_one_bad_element_costs_only_itself(bad: str) -> None:
    """R3: what is wrong with it is not the business of its neighbours, however it is wrong."""
    first, second, third = read(f'[{{"payload": 1}}, {bad}, {{"payload": 3}}]')
    assert isinstance(first, Good)
    assert isinstance(second, Bad)
    assert isinstance(third, Good)
    assert (second.index, third.index) == (1, 2)


def test_a_bad_element_is_parked_alone_so_that_resubmitting_it_duplicates_nothing() -> None:
    _, bad = read('[{"payload": 1}, {"queue": "a b"}]')
    assert isinstance(bad, Bad)
    assert parse_json(bad.body) == {"queue": "a b"}
    assert bad.error.flaws[0].pointer == "/queue"


@pytest.mark.parametrize("body", ["{", "", "NaN", '{"payload": "\\ud800"}', "\ufeff{}", "[{}"])
def test_what_is_not_json_is_parked_as_it_came(body: str) -> None:
    bad = a_bad(body)
    assert (bad.body, bad.error.code) == (body.encode(), "malformed")


def test_a_lone_bad_job_is_parked_as_it_came() -> None:
    raw = b'{ "queue" : "a b" , "a": 1 }'
    assert a_bad(raw).body == raw


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:0a ', max_size=20).map(str.encode))
def test_no_bytes_crash_the_reader(body: bytes) -> None:
    for key in ("job.submit", ACCEPTED_KEY):
        read(body, routing_key=key)


def test_a_job_over_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    frame = len('{"payload":""}')
    assert isinstance(read(f'{{"payload":"{"x" * (MAX_JOB_BYTES - frame)}"}}')[0], Good)
    assert a_bad(f'{{"payload":"{"x" * (MAX_JOB_BYTES - frame + 1)}"}}').error.code == "too_large"


# -- H7: identity of messages that bring none


def test_h7_without_message_id_and_key_there_is_no_identity() -> None:
    """H7: Documented: redelivered, such a message becomes a second job."""
    assert ids(read("{}", seed=1)) != ids(read("{}", seed=2))
    assert not lone({}).submission.keyed


def test_h7_a_redelivered_message_with_an_id_is_the_same_job() -> None:
    """H7: the `message_id` is the identity, however often the message comes."""
    first, again = (lone({}, message_id="m", seed=seed).submission for seed in (1, 2))
    assert first.id == again.id == id_of_key("m")
    assert first.keyed


def test_h7_every_element_of_an_array_is_a_job_of_its_own() -> None:
    """H7: All under one `message_id`, they would all be the same job: one stored, the rest lost."""
    reads = read("[{}, {}, {}]", message_id="m")
    assert ids(reads) == [id_of_element("m", index) for index in range(3)]
    assert ids(reads) == ids(read("[{}, {}, {}]", message_id="m", seed=9))


def test_a_bad_element_does_not_shift_the_ids_of_those_after_it() -> None:
    """Mended and sent again at its place, it takes its own id and nobody else's."""
    broken = ids(read('[{}, {"queue": "a b"}, {}]', message_id="m"))
    mended = ids(read('[{}, {"queue": "ab"}, {}]', message_id="m"))
    assert broken == [mended[0], mended[2]]


def test_an_array_of_one_is_not_a_lone_job() -> None:
    assert ids(read("[{}]", message_id="m")) == [id_of_element("m", 0)]


def test_the_key_in_the_body_is_as_good_and_goes_first_in_an_array() -> None:
    assert lone({"idempotency_key": "k"}).submission.id == id_of_key("k")
    assert ids(read('[{"idempotency_key": "k"}, {}]', message_id="m")) == [
        id_of_key("k"), id_of_element("m", 1),
    ]  # fmt: skip


def test_two_names_for_one_job_are_refused_unless_they_are_the_same() -> None:
    bad = a_bad('{"idempotency_key": "k"}', message_id="m")
    assert bad.error.flaws[0].pointer == "/idempotency_key"
    assert lone({"idempotency_key": "k"}, message_id="k").submission.id == id_of_key("k")


def test_an_empty_message_id_is_none() -> None:
    """As a key it would make one job of all messages of a client that always sets the property."""
    one, other = (lone({}, message_id="", seed=seed).submission for seed in (1, 2))
    assert one.id != other.id
    assert not one.keyed


# -- the gateway's own


def own(*submissions: Any) -> Sequence[Read]:
    (message,) = encode_accepted(submissions)
    return read(message, routing_key=ACCEPTED_KEY)


def test_the_gateways_jobs_keep_the_identity_that_was_answered() -> None:
    sent = [a_submission(payload=1), a_submission(keyed=True, delay=5)]
    assert [r.submission for r in own(*sent) if isinstance(r, Good)] == sent


def test_a_message_id_does_not_rename_what_has_an_id() -> None:
    sent = a_submission()
    (message,) = encode_accepted([sent])
    assert ids(read(message, routing_key=ACCEPTED_KEY, message_id="m")) == [sent.id]


def test_whatever_the_gateway_may_accept_is_accepted_here() -> None:
    """As large, as deep, as grown as a job may be: it was answered 202 and must not be parked."""
    deep: Any = 1
    for _ in range(31):
        deep = [deep]
    full = "x" * (MAX_JOB_BYTES - len('{"payload":""}'))
    grown = [1e15] * (MAX_JOB_BYTES // 5 - 5)
    for payload in (deep, full, grown):
        assert isinstance(own(a_submission(payload=payload))[0], Good)


def test_a_stranger_among_the_gateways_jobs_costs_only_himself() -> None:
    good = {"id": an_id(), "accepted_at": START.isoformat(), "spec": {}}
    deep = {**good, "id": an_id(), "spec": {"payload": json.loads("[" * 40 + "]" * 40)}}
    message = json.dumps([good, {"id": "x"}, 5, deep, {**good, "id": an_id()}])
    reads = read(message, routing_key=ACCEPTED_KEY)
    assert [type(each) for each in reads] == [Good, Bad, Bad, Bad, Good]


def test_a_job_larger_than_a_whole_message_of_ours_is_refused() -> None:
    spec = {"payload": "x" * 1024 * 1024}
    element = {"id": an_id(), "accepted_at": START.isoformat(), "spec": spec}
    assert a_bad(json.dumps([element]), routing_key=ACCEPTED_KEY).error.code == "too_large"


def test_an_array_of_too_many_jobs_is_parked_whole() -> None:
    assert a_bad(b"[" + b",".join([b"{}"] * 10_001) + b"]").error.code == "too_large"


def test_a_message_over_sixteen_mebibytes_is_parked_unread() -> None:
    assert a_bad(b"[" * (16 * 1024 * 1024 + 1)).error.code == "too_large"
