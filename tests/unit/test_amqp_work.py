"""What an amqp job may ask for, and what it sends."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipeline.domain.amqp_work import AmqpWork
from pipeline.domain.body import read_spec
from pipeline.domain.errors import Rejected, Unavailable
from pipeline.domain.execution import Ending, Failed, Succeeded
from pipeline.domain.fields import write_table
from pipeline.domain.job import Kind
from pipeline.domain.job_change import changed
from pipeline.domain.properties import (
    properties_from_json,
    properties_to_json,
    read_headers,
    read_properties,
    write_properties,
)
from pipeline.domain.schedule_edit import edited, new_schedule
from pipeline.domain.states import State
from pipeline.store.documents import new_job, to_job
from tests.builders import a_job, a_submission
from tests.fakes.clock import START
from workers.executors.amqp import AmqpExecutor
from workers.secrets import Secrets

pytestmark = pytest.mark.unit


class Sink:
    """Every broker: it keeps what it gets, and where that was to go."""

    def __init__(self) -> None:
        self.urls: list[str | None] = []
        self.got: list[dict[str, Any]] = []
        self.alone: list[dict[str, Any]] = []

    @asynccontextmanager
    async def to(self, url: str | None) -> AsyncIterator["Sink"]:
        self.urls.append(url)
        yield self

    async def publish(self, **message: Any) -> None:
        self.got.append(message)

    async def publish_alone(self, **message: Any) -> None:
        self.alone.append(message)


async def run(sink: Sink, secrets: dict[str, str], **amqp: Any) -> Ending:
    """How a job ends on a worker with these variables in its environment."""
    job = a_job(body={"amqp": amqp}, id="the-job")
    work = job.spec.work
    assert isinstance(work, AmqpWork)
    return await AmqpExecutor(sink, Secrets(secrets)).run(job, work)


async def sent(**amqp: Any) -> tuple[dict[str, Any], dict[str, Any], Sink]:
    """The properties and the headers that go out, and where."""
    sink = Sink()
    assert await run(sink, {}, **amqp) == Succeeded()
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


async def test_a_message_that_nobody_gave_a_body_is_empty() -> None:
    properties, _, sink = await sent(routing_key="k")
    assert (sink.got[0]["body"], "content_type" in properties) == (b"", False)
    properties, _, sink = await sent(routing_key="k", body=None)
    assert (sink.got[0]["body"], properties["content_type"]) == (b"null", "application/json")


async def test_a_verbatim_message_is_nothing_but_what_it_says() -> None:
    properties, headers, sink = await sent(body="x", headers={"own": 1}, verbatim=True)
    assert (properties, headers) == ({}, {"own": 1})
    assert sink.alone


async def test_bytes_and_exact_properties_are_sent_as_they_are() -> None:
    raw = write_properties({"correlation_id": b"\xff", "headers": write_table([(b"a", b"B\5")])})
    sink = Sink()
    exact = base64.b64encode(raw).decode()
    await run(sink, {}, body_base64="AP8=", verbatim=True, properties_base64=exact)
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
     ({"exchange": "dueq.jobs", "url": {"secret": "PARTNER"}}, "not a target"),
     ({"url": "amqp://127.0.0.1/"}, "/amqp/url"),
     ({"url": {"secret": "../etc/passwd"}}, "/amqp/url/secret"),
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


async def test_the_default_broker_is_meant_unless_a_secret_names_another() -> None:
    sink = Sink()
    secrets = {"DUEQ_SECRET_PARTNER": "amqp://me:pw@partner.example/theirs"}
    assert await run(sink, secrets, routing_key="k") == Succeeded()
    assert await run(sink, secrets, routing_key="k", url={"secret": "PARTNER"}) == Succeeded()
    assert sink.urls == [None, secrets["DUEQ_SECRET_PARTNER"]]


def test_a_url_with_a_password_in_it_is_not_repeated_when_it_is_refused() -> None:
    assert "hunter2" not in refused(url="amqp://me:hunter2@partner.example/")


@pytest.mark.parametrize(
    ("variables", "words"),
    [({}, "has no DUEQ_SECRET_PARTNER"),
     ({"DUEQ_SECRET_PARTNER": ""}, "is empty"),
     ({"DUEQ_SECRET_PARTNER": "https://me:hunter2@host/"}, "must start with amqp://"),
     ({"DUEQ_SECRET_PARTNER": "amqp://me:hun/ter2@host/"}, "percent-encode"),
     ({"DUEQ_SECRET_PARTNER": "hunter2"}, "must start with amqp://")],
)  # fmt: skip
async def test_a_secret_that_is_missing_or_no_url_is_a_failure_that_is_tried_again(
    variables: dict[str, str], words: str
) -> None:
    ending = await run(Sink(), variables, url={"secret": "PARTNER"})
    assert isinstance(ending, Failed)
    assert (ending.error.type, ending.retryable) == ("missing_secret", True)
    assert ending.error.message.startswith("secret PARTNER: ")
    assert words in ending.error.message
    assert "hun" not in ending.error.message


class Talkative(Sink):
    """A broker that says who came from where."""

    async def publish(self, **message: Any) -> None:
        raise Unavailable("RabbitMQ", f"no room for {self.urls[-1]} (hun/ter2, hun%2Fter2)")


async def test_what_a_broker_says_is_reported_without_the_secret_and_with_its_name() -> None:
    variables = {"DUEQ_SECRET_PARTNER": "amqp://me:hun%2Fter2@host/"}
    ending = await run(Talkative(), variables, url={"secret": "PARTNER"})
    assert isinstance(ending, Failed)
    assert ending.error.type == "unavailable"
    assert ending.error.message.endswith(
        "no room for [redacted] ([redacted], [redacted]) (broker of secret PARTNER)"
    )


OURS = [
    {"exchange": "dueq.jobs", "routing_key": "job.submit"},
    {"routing_key": "dueq.submit"},
    {"routing_key": "theirs", "headers": {"CC": ["dueq.submit"]}},
    {"routing_key": "dueq.submit", "url": {"secret": "PARTNER"}},
]


@pytest.mark.parametrize("ours", OURS)
def test_nothing_that_is_changed_or_recurs_leads_to_ourselves(ours: dict[str, Any]) -> None:
    job = a_job(body={"amqp": {"routing_key": "theirs"}}, state=State.PENDING)
    schedule = new_schedule("s", {"every": 60, "job": job.body}, START)
    for attempt in (
        lambda: changed(job, {"amqp": ours}, START),
        lambda: edited(schedule, {"job": {"amqp": ours}}, START),
        lambda: new_schedule("s", {"every": 60, "job": {"amqp": ours}}, START),
    ):
        with pytest.raises(Rejected, match="not a target"):
            attempt()


@pytest.mark.parametrize("ours", OURS)
def test_a_job_that_was_stored_so_all_the_same_is_not_published(ours: dict[str, Any]) -> None:
    """By hand, or by a version that knew less: whoever reads it has no amqp job."""
    document = new_job(a_submission(amqp={"routing_key": "theirs"}), START)
    assert to_job(document).spec.kind is Kind.AMQP
    document["spec"] = {"amqp": ours}
    assert to_job(document).spec.kind is Kind.TASK
