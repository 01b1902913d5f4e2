"""What an amqp job may ask for, and what it sends."""

import base64
import json
from typing import Any

import pytest

from pipeline.domain.body import read_spec
from pipeline.domain.errors import Rejected
from pipeline.domain.fields import write_table
from pipeline.domain.job import AmqpWork
from pipeline.domain.properties import (
    properties_from_json,
    properties_to_json,
    read_headers,
    read_properties,
    write_properties,
)
from tests.builders import a_job
from workers.executors.amqp import AmqpExecutor

pytestmark = pytest.mark.unit


class Sink:
    """A target that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.alone: list[dict[str, Any]] = []

    async def publish(self, **message: Any) -> None:
        self.got.append(message)

    async def publish_alone(self, **message: Any) -> None:
        self.alone.append(message)


async def sent(**amqp: Any) -> tuple[dict[str, Any], dict[str, Any], Sink]:
    """The properties and the headers that go out, and where."""
    sink = Sink()
    job = a_job(body={"amqp": amqp}, id="the-job")
    work = job.spec.work
    assert isinstance(work, AmqpWork)
    await AmqpExecutor(sink).run(job, work)
    (message,) = sink.got + sink.alone
    raw = message["properties"]
    return properties_to_json(read_properties(raw)), dict(read_headers(raw)), sink


def refused(**amqp: Any) -> str:
    with pytest.raises(Rejected) as rejected:
        read_spec({"amqp": amqp})
    return str(rejected.value)


async def test_usually_it_is_persistent_and_carries_what_drops_the_copies() -> None:
    properties, headers, sink = await sent(routing_key="k", body={"a": 1}, headers={"own": 1})
    assert properties == {
        "content_type": "application/json", "delivery_mode": 2, "message_id": "the-job",
    }  # fmt: skip
    assert (headers["own"], headers["DueQ-Job-Id"]) == (1, "the-job")
    assert (sink.got[0]["body"], sink.got[0]["message_id"]) == (b'{"a":1}', "the-job")


async def test_what_is_asked_for_goes_before_what_is_usual() -> None:
    asked = {"content_type": "text/csv", "priority": 3, "message_id": "own", "delivery_mode": 1}
    properties, headers, sink = await sent(body="a;b", properties=asked)
    assert properties == asked
    assert "DueQ-Attempt" in headers
    assert sink.alone, "with a message_id of its own a return could be another's"


async def test_a_verbatim_message_is_nothing_but_what_it_says() -> None:
    properties, headers, sink = await sent(body="x", headers={"own": 1}, verbatim=True)
    assert (properties, headers) == ({}, {"own": 1})
    assert sink.alone


async def test_bytes_and_exact_properties_are_sent_as_they_are() -> None:
    raw = write_properties({"correlation_id": b"\xff", "headers": write_table([(b"a", b"B\5")])})
    sink = Sink()
    exact = base64.b64encode(raw).decode()
    asked = {"body_base64": "AP8=", "verbatim": True, "properties_base64": exact}
    job = a_job(body={"amqp": asked})
    work = job.spec.work
    assert isinstance(work, AmqpWork)
    await AmqpExecutor(sink).run(job, work)
    assert (sink.alone[0]["body"], sink.alone[0]["properties"]) == (b"\0\xff", raw)


@pytest.mark.parametrize(
    ("amqp", "words"),
    [({"body": 1, "body_base64": "AA=="}, "exclude each other"),
     ({"body_base64": "?"}, "base64"),
     ({"properties": {"user_id": "root"}}, "/amqp/properties/user_id"),
     ({"properties": {"priority": 256}}, "/amqp/properties/priority"),
     ({"headers": {"a": {"!int8": 128}}}, "/amqp/headers"),
     ({"headers": {"k" * 256: 1}}, "/amqp/headers"),
     ({"properties_base64": "AAA="}, "goes with verbatim"),
     ({"properties_base64": "//8=", "verbatim": True}, "/amqp/properties_base64"),
     ({"headers": {"BCC": ["theirs", "dueq.submit"]}}, "CC and BCC"),
     ({"exchange": "dueq.delay"}, "not a target"),
     ({"routing_key": "dueq.parked"}, "not a target")],
)  # fmt: skip
def test_what_is_no_message_is_refused_before_it_is_stored(
    amqp: dict[str, Any], words: str
) -> None:
    assert words in refused(**amqp)


def test_keys_into_our_queues_hide_in_exact_properties_neither() -> None:
    raw = properties_from_json({}, {"CC": ["dueq.submit"]})
    exact = base64.b64encode(raw).decode()
    assert "CC" in refused(verbatim=True, properties_base64=exact)
    read_spec({"amqp": {"exchange": "theirs", "verbatim": True, "properties_base64": exact}})


def test_the_description_of_the_api_knows_it_all() -> None:
    described = json.dumps(AmqpWork.model_json_schema())
    for word in ("body_base64", "verbatim", "properties_base64", "correlation_id", "!int32"):
        assert word in described
