"""The AsyncAPI document agrees with itself and with what the code reads and writes."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.asyncapi import document
from pipeline.broker.parked import Notes, parked_properties
from pipeline.broker.topology import EXCHANGES, QUEUES
from pipeline.domain.delayed import read_delayed
from pipeline.domain.envelope import encode_accepted
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.fields import read_table
from pipeline.domain.job import JobSpec
from pipeline.domain.lifecycle import EventBody
from pipeline.domain.properties import properties_from_json, read_properties
from pipeline.ports import Delivery
from tests.builders import a_submission

pytestmark = pytest.mark.unit

ROOT_FIELDS = {"asyncapi", "info", "servers", "channels", "operations", "components"}


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps(document()))
    return whole


def refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from refs(child)


def resolved(told: dict[str, Any], ref: str) -> Any:
    node: Any = told
    for step in ref.removeprefix("#/").split("/"):
        node = node[step]
    return node


def test_every_reference_leads_to_something(told: dict[str, Any]) -> None:
    found = list(refs(told))

    assert len(found) > 30
    assert all(ref.startswith("#/") and resolved(told, ref) is not None for ref in found)


def test_it_has_the_parts_of_asyncapi_3_and_every_operation_goes_over_a_channel(
    told: dict[str, Any],
) -> None:
    assert told["asyncapi"] == "3.0.0"
    assert told.keys() >= ROOT_FIELDS
    for operation in told["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in told["channels"]
    for channel in told["channels"].values():
        assert channel.keys() >= {"address", "messages"}
        names = {part.split("}")[0] for part in (channel["address"] or "").split("{")[1:]}
        assert channel.get("parameters", {}).keys() == names


def test_every_exchange_and_queue_is_in_it(told: dict[str, Any]) -> None:
    all_of_them = [each.get("bindings", {"amqp": {}})["amqp"] for each in told["channels"].values()]
    exchanges = [each["exchange"] for each in all_of_them if "exchange" in each]
    queues = [each["queue"] for each in all_of_them if "queue" in each]

    named = {exchange["name"]: exchange["type"] for exchange in exchanges}
    assert named == {each.name: each.type for each in EXCHANGES}
    assert {queue["name"] for queue in queues} == set(QUEUES)


def test_jobs_and_events_have_the_fields_of_the_models(told: dict[str, Any]) -> None:
    schemas = told["components"]["schemas"]

    assert schemas["JobSpec"]["properties"].keys() == JobSpec.model_fields.keys()
    assert schemas["EventBody"]["properties"].keys() == EventBody.model_fields.keys()


def test_what_the_gateway_writes_is_what_is_described(told: dict[str, Any]) -> None:
    schema = told["components"]["schemas"]["AcceptedJob"]
    (written,) = json.loads(next(encode_accepted([a_submission()])))

    assert set(schema["required"]) <= written.keys() <= schema["properties"].keys()


def test_what_is_said_of_delayed_messages_is_what_the_code_reads(told: dict[str, Any]) -> None:
    schema = told["components"]["schemas"]["DelayHeaders"]
    values = {"x-delay": "1500", "x-exchange": "theirs", "x-routing-key": "key"}
    spec, job = read_delayed(b"", "own", properties_from_json({}, values))

    assert spec.delay == 1.5
    assert (job["amqp"]["exchange"], job["amqp"]["routing_key"]) == ("theirs", "key")
    assert "headers" not in job["amqp"]  # each of them was read as ours
    assert schema["properties"].keys() == {*values, "x-deliver-at"}
    number, text = schema["properties"]["x-delay"]["oneOf"]
    assert number["type"] == "integer"
    assert re.search(text["pattern"], "1500")
    assert not re.search(text["pattern"], "1.5 s")


def test_what_is_parked_has_the_headers_that_are_described(told: dict[str, Any]) -> None:
    schema = told["components"]["schemas"]["ParkedHeaders"]
    error = Rejected("invalid", Flaw("/delay", "must not be negative"))
    delivery = Delivery(b"{}", "job.submit", None, None, None, None, 1, None, "dueq.jobs")
    notes = Notes("id", datetime(2026, 1, 1, tzinfo=UTC), error)
    properties = read_properties(parked_properties(delivery, None, notes))

    assert {name.decode() for name, _ in read_table(properties["headers"])} == set(
        schema["properties"]
    )
