"""Anything at all is published to the submit queue: neighbours are stored, ingest lives.

RabbitMQ, ingest and MongoDB are real; Redis is the fake one, which nothing here is about. What is
sent is bytes: bodies and properties that no client library would write. `--long` for more of it.
"""

import asyncio
import json
import struct
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pamqp import commands as spec

from pipeline.broker.mailbox import RabbitMailbox
from pipeline.broker.parked_queue import Parked, open_parked
from pipeline.broker.topology import declare_topology
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.fields import write_table
from pipeline.domain.identity import id_of_key
from pipeline.domain.properties import properties_from_json, write_properties
from pipeline.ingest import Ingest
from pipeline.store.job_store import MongoJobStore
from tests.fakes.clock import ManualClock
from tests.fakes.lease_queue import FakeLeaseQueue
from tests.fields import properties
from tests.servers import Servers
from tests.support import eventually
from tests.wire import Refused, Wire, wire

CODES = {"malformed", "invalid", "too_large", "conflict"}
MEDIA = ["application/json", "application/cloudevents+json",
         "application/cloudevents-batch+json", "text/plain", ""]  # fmt: skip
DOORS = [("dueq.jobs", "job.submit"), ("dueq.jobs", "job.accepted"), ("", "dueq.submit"),
         ("dueq.delay", "job.accepted")]  # fmt: skip
_EXAMPLES = 2000 if "--long" in sys.argv else 40
SETTINGS = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
    database=None,
)


@dataclass
class Door:
    """The submit queue with an ingest behind it."""

    client: Wire
    url: str
    store: MongoJobStore
    ingesting: "asyncio.Task[None]"

    async def send(
        self,
        body: bytes,
        raw: bytes = b"\0\0",
        exchange: str = "dueq.jobs",
        key: str = "job.submit",
    ) -> None:
        await asyncio.to_thread(self.client.publish, exchange, key, raw, body)

    async def send_if_taken(self, **message: Any) -> None:
        """A `CC` that is no list RabbitMQ refuses at its own door: its sender's channel closes."""
        try:
            await self.send(**message)
        except Refused as refusal:
            assert "unacceptable_type_in_header" in str(refusal)

    async def neighbour(self) -> str:
        """A good job; its id. No test takes one of another, delivered again, for its own."""
        name = f"neighbour-{uuid.uuid4()}"
        said = {"message_id": name, "content_type": "application/json"}
        await self.send(b'{"payload": 1, "delay": 3600}', properties_from_json(said, {}))
        return id_of_key(name)

    async def between_neighbours(self, *sends: Callable[[], Any]) -> None:
        """What is sent between two good jobs hurts neither, nor ingest."""
        ids = [await self.neighbour()]
        for send in sends:
            await send()
        ids.append(await self.neighbour())
        await self.stored(*ids)
        assert not self.ingesting.done()

    async def stored(self, *ids: str) -> None:
        async def are_all() -> bool:
            return len(await self.store.get_many(ids)) == len(ids)

        await eventually(are_all, timeout=30)

    async def parked(self) -> list[Parked]:
        """What was set aside, taken out.

        A batch is stored before its bad ones are parked: they are when the next batch is stored.
        """
        await self.stored(await self.neighbour())
        async with open_parked(self.url) as queue:
            found = list(await queue.messages())
            for each in found:
                await queue.take_out(each)
        return found


@asynccontextmanager
async def ingesting(amqp_url: str, store: MongoJobStore) -> AsyncIterator["asyncio.Task[None]"]:
    clock, chance = StoreClock(), SystemChance()
    mailbox = RabbitMailbox(amqp_url, clock, chance)
    ingest = Ingest(mailbox, store, FakeLeaseQueue(ManualClock()), clock, chance)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ingest.run())
        yield task
        task.cancel()
    await mailbox.close()


@pytest.fixture(scope="module")
def amqp_url(servers: Servers) -> str:
    """One vhost for all: making one takes a second."""
    return servers.fresh_amqp_url()


@pytest_asyncio.fixture
async def door(amqp_url: str, mongo_url: str) -> AsyncIterator[Door]:
    clock, chance = StoreClock(), SystemChance()
    await declare_topology(amqp_url, clock)
    store = MongoJobStore(mongo_url, clock, chance, timedelta(seconds=10))
    await store.prepare()
    async with ingesting(amqp_url, store) as task:
        with wire(amqp_url) as client:
            client.call(spec.Queue.Purge(queue="dueq.parked"))
            yield Door(client, amqp_url, store, task)
    store.close()


# -- what is sent

NASTY = [
    b"", b"{", b"[", b"]", b"nul", b'{"payload": NaN}', b'{"payload": Infinity}',
    b'{"payload": 1e999}', b'{"payload": 9223372036854775808}',
    b'{"payload": -9223372036854775809}',
    b'{"payload": {"a\\u0000": 1}}', b'{"payload": "\\u0000"}', b'{"payload": "\\ud800"}',
    b'{"payload": "\xed\xa0\x80"}', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"a": 1, "a": 2}',
    b"[" * 100_000, b'{"payload":' * 5000, b'{"payload": ' + b"[" * 40 + b"]" * 40 + b"}",
    b'{"payload": {"$where": 1, "": 1, "a.b": {"$ref": "x", "$id": 1}}}',
    b'{"name": "' + b"n" * 201 + b'"}', b'{"run_at": "0001-01-01T00:00:00+12:00"}',
    b'{"delay": 1e308}', b'{"delay": -0.0}', b'{"payload": 1e15, "priority": true}',
    b'{"idempotency_key": "\\u0000"}', b'{"amqp": {"headers": {"a": {"!int8": 1000}}}}',
    b'{"amqp": {"verbatim": true, "properties_base64": "//8="}}',
    b'{"http": {"url": "http://[::1"}}', b'{"http": {"url": "http://x:99999/"}}',
    b'{"retry": {"backoff": [1e308]}}', b'{"tags": ["' + b'a","' * 30 + b'"]}',
    b'[{"id": 5}, {"accepted_at": "x"}, null, 5, [[]], {"spec": {}}]',
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["payload", "delay", "run_at", "queue", "amqp", "http", "headers", "retry",
                         "data", "id", "source", "specversion", "type", "spec", "accepted_at"])
        | st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip
AS_TEXT = JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    body = draw(st.one_of(st.binary(max_size=100), st.sampled_from(NASTY), AS_TEXT))
    if draw(st.integers(0, 3)) == 0:
        body = body[: draw(st.integers(0, len(body)))]
    return body


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A body, properties and a door."""
    said = {"content_type": draw(st.sampled_from(MEDIA))}
    raw = draw(properties() | st.just(properties_from_json(said, {})))
    exchange, key = draw(st.sampled_from(DOORS))
    return {"body": draw(bodies()), "raw": raw, "exchange": exchange, "key": key}


async def test_known_horrors_are_parked_with_a_reason_or_stored(door: Door) -> None:
    for body in NASTY:
        await door.between_neighbours(partial(door.send, body))
    parked_bodies = await door.parked()
    assert len(parked_bodies) >= 25
    for parked in parked_bodies:
        assert parked.notes["code"] in CODES
        assert parked.notes["error"]


async def test_seventeen_megabytes_are_parked_in_one_piece(door: Door) -> None:
    body = b'{"payload": "' + b"x" * 17 * 2**20 + b'"}'
    await door.between_neighbours(partial(door.send, body))
    (parked,) = await door.parked()
    assert (parked.notes["code"], len(parked.body)) == ("too_large", len(body))


async def test_a_message_that_rabbitmq_refuses_harms_nobody(door: Door) -> None:
    raw = properties_from_json({}, {"CC": 1.5})
    await door.between_neighbours(partial(door.send_if_taken, body=b"{}", raw=raw))
    with pytest.raises(Refused, match="unacceptable_type_in_header"):
        await door.send(b"{}", raw)


async def test_a_bad_element_among_good_ones_is_parked_alone(door: Door) -> None:
    good = json.dumps({"payload": 1, "delay": 3600}).encode()
    for number, bad in enumerate((b"5", b'{"queue": "-"}', b'{"payload": 9223372036854775808}')):
        name = f"array-{number}"
        raw = properties_from_json({"message_id": name}, {})
        body = b"[" + b",".join([good, bad, good]) + b"]"
        await door.between_neighbours(partial(door.send, body, raw))
        assert len(await door.store.get_many([id_of_key(f"{name}/{i}") for i in (0, 2)])) == 2
        (parked,) = await door.parked()
        assert json.loads(parked.body) == json.loads(bad)
        assert parked.text("message_id") == f"{name}/1"


async def test_headers_that_no_library_writes_harm_nobody(door: Door) -> None:
    deep = b""
    for _ in range(2000):
        deep = write_table([(b"t", b"F" + struct.pack(">I", len(deep)) + deep)])
    odd: list[dict[str, bytes]] = [
        {"headers": deep},
        {"timestamp": b"\xff" * 8},
        {"reply_to": b"\xff\0", "correlation_id": b"\xff"},
        {"message_id": b"\xff"},
        {"content_type": b"\xff"},
        {"headers": write_table([(b"ce-id", b"x\0\0\0\1\xff"), (b"\xff", b"V")])},
        {"headers": write_table([(b"x-delay", b"D\x05\0\0\0\1"), (b"x-exchange", b"V")])},
        {"headers": write_table([(b"own", b"V"), (b"dueq-code", b"t\1")])},
    ]
    for exchange in ("dueq.jobs", "dueq.delay"):
        for values in odd:
            raw = write_properties(values)
            await door.between_neighbours(partial(door.send, b"{", raw, exchange))
    parked = await door.parked()
    assert len(parked) == 2 * len(odd)
    assert {each.notes["code"] for each in parked} <= CODES


@pytest.mark.timeout(60 + 3 * _EXAMPLES)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # or it hides what went wrong
@SETTINGS
@given(batch=st.lists(messages(), min_size=1, max_size=5))
async def test_whatever_comes_neighbours_are_stored_and_ingest_lives(
    door: Door, batch: list[dict[str, Any]]
) -> None:
    """Every message that RabbitMQ takes ends stored or parked, each reason is one of ours."""
    await door.between_neighbours(*(partial(door.send_if_taken, **message) for message in batch))
    parked = await door.parked()
    assert {each.notes["code"] for each in parked} <= CODES
    assert all(each.notes["error"] for each in parked)
