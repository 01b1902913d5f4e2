"""Jobs in CloudEvents, and how they and their faults are told apart."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.domain.identity import id_of_key
from pipeline.intake import Bad, Good, Read, read_delivery
from tests.fakes.clock import START, SeededChance
from tests.fakes.mailbox import FakeMailbox

pytestmark = pytest.mark.unit

STRUCTURED = "application/cloudevents+json; charset=utf-8"
BATCH = "application/cloudevents-batch+json"
EVENT: dict[str, Any] = {
    "specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed", "subject": "x",
    "data": {"payload": 1},
}  # fmt: skip
HEADERS = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop", "ce-type": "order.placed"}
KEY = id_of_key("/shop 7")


def read(value: Any, **fields: Any) -> Sequence[Read]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read_delivery(FakeMailbox().deliver(body, **fields), START, SeededChance(1))


def good(value: Any, **fields: Any) -> Good:
    (only,) = read(value, **fields)
    assert isinstance(only, Good), only
    return only


def bad(value: Any, **fields: Any) -> Bad:
    (only,) = read(value, **fields)
    assert isinstance(only, Bad), only
    return only


def pointers(read_bad: Bad) -> list[str]:
    return [flaw.pointer for flaw in read_bad.error.flaws]


# -- structured


def test_the_data_is_the_job_and_source_and_id_are_its_key() -> None:
    submission = good(EVENT, content_type=STRUCTURED).submission
    assert (submission.body, submission.id, submission.keyed) == ({"payload": 1}, KEY, True)


def test_a_message_id_goes_before_the_events_own_key() -> None:
    assert good(EVENT, content_type=STRUCTURED, message_id="m").submission.id == id_of_key("m")


def test_a_key_in_the_job_goes_before_both() -> None:
    event = EVENT | {"data": {"idempotency_key": "k"}}
    assert good(event, content_type=STRUCTURED).submission.id == id_of_key("k")


def test_data_may_be_an_array_of_jobs() -> None:
    reads = read(EVENT | {"data": [{}, {"queue": "-"}, {}]}, content_type=STRUCTURED)
    first, second, third = reads
    assert isinstance(first, Good)
    assert isinstance(third, Good)
    assert [first.submission.id, third.submission.id] == [
        id_of_key("/shop 7/0"), id_of_key("/shop 7/2"),
    ]  # fmt: skip
    assert isinstance(second, Bad)
    assert (second.body, pointers(second)) == (b'{"queue":"-"}', ["/queue"])
    assert second.remains is not None
    assert second.remains.content_type == "application/json"
    assert second.remains.message_id == "/shop 7/1"


def test_data_may_be_base64_of_json() -> None:
    event = {name: value for name, value in EVENT.items() if name != "data"}
    encoded = base64.b64encode(b'{"payload": 2}').decode()
    submission = good(event | {"data_base64": encoded}, content_type=STRUCTURED).submission
    assert submission.body == {"payload": 2}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [({"specversion": "0.3"}, "/specversion"), ({"specversion": 1.0}, "/specversion"),
     ({"id": ""}, "/id"), ({"id": 7}, "/id"), ({"source": None}, "/source"),
     ({"source": "a b"}, "/source"), ({"type": ""}, "/type"),
     ({"datacontenttype": "text/xml"}, "/datacontenttype"), ({"data_base64": "e30="}, "/data"),
     ({"data": {"queue": "-"}}, "/data/queue"), ({"data": 5}, "/data")],
)  # fmt: skip
def test_what_is_wrong_with_an_event_is_told_at_its_place(
    change: dict[str, Any], pointer: str
) -> None:
    told = bad(EVENT | change, content_type=STRUCTURED)
    assert (told.error.code, pointers(told)) == ("invalid", [pointer])
    assert json.loads(told.body) == EVENT | change
    assert told.remains is None


def test_all_that_is_missing_is_named_at_once() -> None:
    told = bad({}, content_type=STRUCTURED)
    assert pointers(told) == ["/specversion", "/id", "/source", "/type", "/data"]


@pytest.mark.parametrize("value", [5, [], "x", [EVENT]])
def test_what_is_no_event_is_refused(value: Any) -> None:
    assert bad(value, content_type=STRUCTURED).error.code == "invalid"


@pytest.mark.parametrize("text", ["?", "e30", base64.b64encode(b"{").decode()])
def test_base64_that_is_none_or_no_json_is_refused_at_its_place(text: str) -> None:
    event = {name: value for name, value in EVENT.items() if name != "data"}
    told = bad(event | {"data_base64": text}, content_type=STRUCTURED)
    assert pointers(told) == ["/data_base64"]


def test_any_json_may_be_the_datacontenttype() -> None:
    for media in ("application/json", "application/vnd.x+json; charset=utf-8"):
        good(EVENT | {"datacontenttype": media}, content_type=STRUCTURED)


# -- batches


def test_in_a_batch_each_event_is_a_job_and_a_bad_one_costs_only_itself() -> None:
    other = EVENT | {"id": "8"}
    first, second, third = read([EVENT, other | {"source": ""}, other], content_type=BATCH)
    assert isinstance(first, Good)
    assert isinstance(third, Good)
    assert [first.submission.id, third.submission.id] == [KEY, id_of_key("/shop 8")]
    assert isinstance(second, Bad)
    assert json.loads(second.body)["source"] == ""
    assert second.remains is not None
    assert second.remains.content_type == "application/cloudevents+json"


def test_a_bad_job_in_a_batch_is_told_where_it_stands_in_its_event() -> None:
    told = bad([EVENT | {"data": {"delay": -1}}], content_type=BATCH)
    assert pointers(told) == ["/data/delay"]


def test_an_array_in_an_event_of_a_batch_is_refused() -> None:
    assert pointers(bad([EVENT | {"data": [{}]}], content_type=BATCH)) == ["/data"]


def test_a_lone_event_under_the_name_of_a_batch_is_that_event() -> None:
    """As which one of a batch is parked and sent again by hand."""
    assert good(EVENT, content_type=BATCH).submission.id == KEY


def test_a_message_id_names_the_events_of_a_batch_by_their_number() -> None:
    reads = read([EVENT, EVENT], content_type=BATCH, message_id="m")
    assert [each.submission.id for each in reads if isinstance(each, Good)] == [
        id_of_key("m/0"), id_of_key("m/1"),
    ]  # fmt: skip


# -- binary


@pytest.mark.parametrize("prefix", ["ce-", "CE-", "cloudEvents:", "cloudEvents_"])
def test_headers_make_an_event_of_a_plain_body(prefix: str) -> None:
    headers = {name.replace("ce-", prefix): value for name, value in HEADERS.items()}
    assert good({"payload": 1}, headers=headers).submission.id == KEY


def test_the_elements_of_a_binary_event_have_numbers() -> None:
    reads = read([{}, {}], headers=HEADERS)
    assert [each.submission.id for each in reads if isinstance(each, Good)] == [
        id_of_key("/shop 7/0"), id_of_key("/shop 7/1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "pointer"),
    [({"ce-specversion": "2.0"}, "/headers/ce-specversion"), ({"ce-id": None}, "/headers/ce-id"),
     ({"ce-source": {"!bytes": "AA=="}}, "/headers/ce-source"),
     ({"ce-type": ""}, "/headers/ce-type")],
)  # fmt: skip
def test_a_header_that_is_wrong_is_named(change: dict[str, Any], pointer: str) -> None:
    told = bad({"payload": 1}, headers=HEADERS | change)
    assert (told.error.code, pointers(told)) == ("invalid", [pointer])


def test_headers_that_are_missing_are_named() -> None:
    told = bad({"payload": 1}, headers={"ce-id": "7", "ce-subject": "s"})
    assert pointers(told) == ["/headers/ce-specversion", "/headers/ce-source", "/headers/ce-type"]


def test_an_extension_alone_makes_no_event() -> None:
    assert not good({}, headers={"ce-subject": "s", "cement": 1}).submission.keyed


def test_the_job_of_a_binary_event_is_told_by_pointers_into_the_body() -> None:
    assert pointers(bad({"queue": "-"}, headers=HEADERS)) == ["/queue"]
