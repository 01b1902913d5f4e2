"""Delayed publish on RabbitMQ: what goes in comes out, byte for byte, seen by a bare socket."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pamqp import commands as spec

from pipeline.broker.mailbox import RabbitMailbox
from pipeline.broker.targets import RabbitTargets
from pipeline.broker.topology import check_broker, declare_topology
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Ending, Failed, Succeeded
from pipeline.domain.fields import read_table, value_from_json, write_table
from pipeline.domain.job import Submission
from pipeline.domain.properties import properties_from_json, read_properties, write_properties
from pipeline.intake import Good, read_delivery
from tests.builders import a_job
from tests.fakes.clock import ManualClock
from tests.fields import properties
from tests.servers import Servers
from tests.unit.test_fields import EVERY_TYPE
from tests.wire import Wire, wire
from workers.executors.amqp import AmqpExecutor
from workers.secrets import Secrets

CLOCK, CHANCE = StoreClock(), SystemChance()


@pytest.fixture(scope="module")
def amqp_url(servers: Servers) -> str:
    return servers.fresh_amqp_url()


@pytest_asyncio.fixture
async def mailbox(amqp_url: str) -> AsyncIterator[RabbitMailbox]:
    await declare_topology(amqp_url, CLOCK)
    mailbox = RabbitMailbox(amqp_url, CLOCK, CHANCE)
    yield mailbox
    await mailbox.close()


@pytest_asyncio.fixture
async def targets(amqp_url: str) -> AsyncIterator[RabbitTargets]:
    async with RabbitTargets(amqp_url, CLOCK) as targets:
        yield targets


@pytest.fixture
def client(amqp_url: str, mailbox: RabbitMailbox) -> Iterator[Wire]:
    with wire(amqp_url) as client:
        client.call(spec.Queue.Declare(queue="theirs", durable=True))
        for queue in ("theirs", "dueq.submit"):
            client.call(spec.Queue.Purge(queue=queue))
        yield client


def with_headers(raw: bytes, **more: object) -> bytes:
    values = read_properties(raw)
    entries = [(n.replace("_", "-").encode(), value_from_json(v)) for n, v in more.items()]
    table = write_table([*read_table(values.get("headers", b"")), *entries])
    return write_properties({**values, "headers": table})


async def next_job(mailbox: RabbitMailbox) -> Submission:
    (delivery,) = await asyncio.wait_for(mailbox.take(1), 10)
    (read,) = read_delivery(delivery, CLOCK.now(), CHANCE)
    await mailbox.ack([delivery])
    assert isinstance(read, Good), read
    return read.submission


async def publish(targets: RabbitTargets, submission: Submission) -> Ending:
    """As the worker does it when the job is due."""
    job = a_job(body=submission.body, id=submission.id)
    assert job.spec.amqp is not None
    return await AmqpExecutor(targets, Secrets({})).run(job, job.spec.amqp)


async def there_and_back(
    client: Wire, mailbox: RabbitMailbox, targets: RabbitTargets, raw: bytes, body: bytes
) -> tuple[bytes, bytes]:
    asked = with_headers(raw, x_delay=1)
    await asyncio.to_thread(client.publish, "dueq.delay", "theirs", asked, body)
    assert await publish(targets, await next_job(mailbox)) == Succeeded()
    answer = await asyncio.to_thread(client.get, "theirs")
    assert answer is not None
    return answer


async def test_every_type_of_header_arrives_with_its_type(
    client: Wire, mailbox: RabbitMailbox, targets: RabbitTargets
) -> None:
    """A headers exchange tells an 8-bit 5 from a 64-bit 5; so must whoever publishes again."""
    said = {"content_type": "text/plain", "message_id": "order-7", "priority": 3, "type": "greet",
            "correlation_id": "c", "reply_to": "answers", "expiration": "60000", "app_id": "shop",
            "timestamp": 1_790_000_000, "delivery_mode": 1, "content_encoding": "x"}  # fmt: skip
    raw = properties_from_json(said, EVERY_TYPE)
    assert await there_and_back(client, mailbox, targets, raw, b"hello") == (raw, b"hello")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=properties(), body=st.binary(max_size=300))
async def test_any_message_arrives_byte_for_byte(
    client: Wire, mailbox: RabbitMailbox, targets: RabbitTargets, raw: bytes, body: bytes
) -> None:
    values = read_properties(raw)
    if not values.get("headers"):
        values.pop("headers", None)
    raw = write_properties(values)
    assert await there_and_back(client, mailbox, targets, raw, body) == (raw, body)


async def test_a_message_that_comes_twice_still_says_only_what_its_sender_said(
    client: Wire, mailbox: RabbitMailbox, targets: RabbitTargets
) -> None:
    """Delivered again, the broker adds a header and writes the others anew."""
    raw = properties_from_json({}, EVERY_TYPE)
    asked = with_headers(raw, x_delay=1)
    await asyncio.to_thread(client.publish, "dueq.delay", "theirs", asked, b"again")
    await asyncio.wait_for(mailbox.take(1), 10)
    await mailbox.give_back()
    assert await publish(targets, await next_job(mailbox)) == Succeeded()
    answer = await asyncio.to_thread(client.get, "theirs")
    assert answer is not None
    values = read_properties(answer[0])
    assert sorted(read_table(values["headers"])) == sorted(
        read_table(read_properties(raw)["headers"])
    )


async def test_the_routing_key_of_the_gateway_is_only_a_key_here(
    client: Wire, mailbox: RabbitMailbox
) -> None:
    raw = with_headers(b"\0\0", x_delay=1)
    await asyncio.to_thread(client.publish, "dueq.delay", "job.accepted", raw, b"[]")
    submission = await next_job(mailbox)
    assert submission.spec.amqp is not None
    assert (submission.spec.amqp.routing_key, submission.spec.amqp.body) == ("job.accepted", "[]")


@pytest.mark.parametrize("said", [{}, {"message_id": "the only one"}, {"message_id": "x"}])
async def test_a_message_that_no_queue_takes_when_it_is_due_is_a_failure(
    client: Wire, mailbox: RabbitMailbox, targets: RabbitTargets, said: dict[str, str]
) -> None:
    """The driver finds a returned message by its `message_id`; these have one of their own, the
    same ones again, or none, and the confirm that follows a return would pass for success."""
    raw = with_headers(properties_from_json(said, {}), x_delay=1)
    for key in ("nobody", "theirs", "nobody"):
        await asyncio.to_thread(client.publish, "dueq.delay", key, raw, b"x")
    jobs = [await next_job(mailbox) for _ in range(3)]
    endings = await asyncio.gather(*(publish(targets, job) for job in jobs * 10))
    for ending, key in zip(endings, ("nobody", "theirs", "nobody") * 10, strict=True):
        assert (ending == Succeeded()) is (key == "theirs")
        assert ending == Succeeded() or isinstance(ending, Failed)
    assert {e.error.type for e in endings if isinstance(e, Failed)} == {"unroutable"}


async def test_an_exchange_that_is_not_there_when_it_is_due_is_a_failure_that_is_tried_again(
    client: Wire, mailbox: RabbitMailbox, targets: RabbitTargets
) -> None:
    raw = with_headers(b"\0\0", x_delay=1, x_exchange="later")
    await asyncio.to_thread(client.publish, "dueq.delay", "k", raw, b"x")
    job = await next_job(mailbox)
    ending = await publish(targets, job)
    assert isinstance(ending, Failed)
    assert (ending.error.type, ending.retryable) == ("no_such_exchange", True)
    client.call(spec.Exchange.Declare(exchange="later", exchange_type="fanout"))
    client.call(spec.Queue.Bind(queue="theirs", exchange="later", routing_key=""))
    assert await publish(targets, job) == Succeeded()
    client.call(spec.Exchange.Delete(exchange="later"))


async def test_properties_that_the_broker_refuses_hurt_only_their_own_message(
    client: Wire, targets: RabbitTargets
) -> None:
    """A refusal closes the channel; who shares it would not know what became of his message."""
    bad = properties_from_json({"expiration": "soon"}, {})
    good = properties_from_json({"message_id": "m"}, {})
    async with targets.to(None) as target:
        sends = [
            target.publish_alone(exchange="", routing_key="theirs", body=b"x", properties=each)
            for each in (good, bad, good) * 30
        ]
        ends = await asyncio.gather(*sends, return_exceptions=True)
    assert [end for number, end in enumerate(ends) if number % 3 != 1] == [None] * 60
    assert {type(end) for number, end in enumerate(ends) if number % 3 == 1} == {Rejected}


async def test_properties_that_the_driver_cannot_read_do_not_end_the_connection(
    client: Wire, mailbox: RabbitMailbox
) -> None:
    """A year beyond 9999, text that is not UTF-8, a table within a thousand: the driver would give
    up the connection, connect again, get the message again, and so on for ever."""
    table = b""
    for _ in range(1000):
        table = write_table([(b"t", b"F" + struct.pack(">I", len(table)) + table)])
    odd = [
        {"timestamp": struct.pack(">Q", 2**63)},
        {"correlation_id": b"\xff\xfe"},
        {"headers": table},
        {"headers": write_table([(b"\xff", b"V")])},
    ]
    for values in odd:
        raw = write_properties(values)
        await asyncio.to_thread(client.publish, "dueq.jobs", "job.submit", raw, b'{"payload": 1}')
    for _ in odd:
        assert (await next_job(mailbox)).body == {"payload": 1}


async def test_a_broker_of_an_older_version_gets_what_it_lacks(amqp_url: str) -> None:
    await declare_topology(amqp_url, CLOCK)
    with wire(amqp_url) as client:
        client.call(spec.Exchange.Delete(exchange="dueq.delay"))
    assert not (await check_broker(amqp_url)).topology
    clock = ManualClock()
    async with asyncio.TaskGroup() as group:
        declaring = group.create_task(declare_topology(amqp_url, clock))
        while not declaring.done():
            clock.advance(1.0)
            await asyncio.sleep(0.01)
    assert (await check_broker(amqp_url)).topology
