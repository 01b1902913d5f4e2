"""AMQP jobs against a real RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel, AbstractQueue
from aiormq.exceptions import DeliveryError
from pamqp.commands import Basic

from pipeline.broker.connection import connect, disconnect, open_channel
from pipeline.broker.exact import Line
from pipeline.broker.proven import ProvenChannel
from pipeline.domain.execution import Succeeded
from tests.amqp_world import executors_on, inbox_on, publish
from tests.cable import Cable
from tests.endings import failure
from tests.support import eventually
from workers.executors.executors import Executors


@pytest_asyncio.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        yield await connection.channel()


@pytest_asyncio.fixture
async def inbox(amqp_url: str) -> AsyncIterator[AbstractQueue]:
    async with inbox_on(amqp_url) as inbox:
        yield inbox


@pytest_asyncio.fixture
async def executors(amqp_url: str) -> AsyncIterator[Executors]:
    async with executors_on(amqp_url) as executors:
        yield executors


async def test_a_message_arrives_persistent_with_what_drops_the_copies(
    executors: Executors, inbox: AbstractQueue
) -> None:
    ending = await publish(
        executors, exchange="theirs", routing_key="hello", body={"a": 1},
        headers={"x-own": 1, "DueQ-Attempt": "99"},
    )  # fmt: skip
    assert ending == Succeeded()

    message = await inbox.get()
    assert message.body == b'{"a":1}'
    assert message.content_type == "application/json"
    assert message.message_id == "the-job"
    assert message.delivery_mode == 2
    assert message.headers["DueQ-Attempt"] == "3"
    assert message.headers["DueQ-Job-Id"] == "the-job"
    assert message.headers["x-own"] == 1


async def test_a_string_is_sent_as_it_is(executors: Executors, inbox: AbstractQueue) -> None:
    await publish(executors, routing_key="inbox", body="grüße")
    assert (await inbox.get()).body == "grüße".encode()


async def test_a_message_that_no_queue_takes_is_a_failure(
    executors: Executors, inbox: AbstractQueue
) -> None:
    ending = failure(await publish(executors, exchange="theirs", routing_key="nobody"))
    assert ending.error.type == "unroutable"


async def test_a_missing_exchange_hurts_only_its_own_jobs(
    executors: Executors, inbox: AbstractQueue
) -> None:
    """The broker closes the channel: what others have in flight must not be on it."""
    good = [publish(executors, exchange="theirs", routing_key="hello") for _ in range(50)]
    bad = [publish(executors, exchange="missing", routing_key="hello") for _ in range(5)]
    endings = await asyncio.gather(*good[:25], *bad, *good[25:])

    assert endings[:25] + endings[30:] == [Succeeded()] * 50
    assert {failure(ending).error.type for ending in endings[25:30]} == {"no_such_exchange"}
    assert await publish(executors, exchange="theirs", routing_key="hello") == Succeeded()


async def test_an_exchange_that_comes_later_is_found(
    executors: Executors, channel: AbstractChannel
) -> None:
    failure(await publish(executors, exchange="late", routing_key="k"))
    exchange = await channel.declare_exchange("late")
    queue = await channel.declare_queue("late", exclusive=True)
    await queue.bind(exchange, "k")
    assert await publish(executors, exchange="late", routing_key="k") == Succeeded()


async def test_the_longest_routing_key_that_a_job_may_have_fits_the_protocol(
    executors: Executors, inbox: AbstractQueue
) -> None:
    ending = failure(await publish(executors, exchange="theirs", routing_key="k" + "ü" * 127))
    assert ending.error.type == "unroutable"  # 255 bytes: understood, and nobody listens
    assert await publish(executors, exchange="theirs", routing_key="hello") == Succeeded()


async def test_a_broker_that_is_away_is_a_failure_that_is_tried_again() -> None:
    async with executors_on("amqp://guest:guest@127.0.0.1:1/") as executors:
        ending = failure(await publish(executors, routing_key="k"))
    assert ending.error.type == "unavailable"
    assert ending.error.message == "RabbitMQ is unavailable: nobody listens there"
    assert ending.retryable


async def test_a_connection_that_breaks_before_the_confirm_leaves_the_outcome_unknown(
    amqp_url: str, inbox: AbstractQueue
) -> None:
    async with Cable(amqp_url).laid() as cable, executors_on(cable.url) as executors:
        assert await publish(executors, routing_key="inbox") == Succeeded()
        cable.stall()
        sending = asyncio.ensure_future(publish(executors, routing_key="inbox"))
        for _ in range(50):
            await asyncio.sleep(0)
        cable.cut()
        ending = failure(await sending)
    assert (ending.error.type, ending.retryable) == ("unknown_outcome", True)
    assert ending.error.message == "RabbitMQ is unavailable: the connection was lost"


@pytest.mark.parametrize("size", [1, 200_000])
async def test_a_large_body_arrives_whole(
    executors: Executors, inbox: AbstractQueue, size: int
) -> None:
    await publish(executors, routing_key="inbox", body="x" * size)
    assert len((await inbox.get()).body) == size


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({"CC": 5}, "refused"), ({"x": "x" * 140_000}, "invalid")],
    ids=["copies that are no list", "more than a frame holds"],
)
async def test_headers_that_the_broker_does_not_take_hurt_only_their_own_jobs(
    executors: Executors, inbox: AbstractQueue, headers: dict[str, Any], expected: str
) -> None:
    asked = {"exchange": "theirs", "routing_key": "hello"}
    sent = [publish(executors, **asked, headers=headers if n % 3 else {}) for n in range(90)]
    endings = await asyncio.gather(*sent)
    assert endings[::3] == [Succeeded()] * 30
    bad = [failure(ending) for number, ending in enumerate(endings) if number % 3]
    assert {ending.error.type for ending in bad} == {expected}


@pytest_asyncio.fixture
async def full(channel: AbstractChannel) -> str:
    """A queue that takes nothing."""
    limits: dict[str, Any] = {"x-max-length": 0, "x-overflow": "reject-publish"}
    await channel.declare_queue("takes-nothing", exclusive=True, arguments=limits)
    return "takes-nothing"


@pytest.mark.parametrize("verbatim", [False, True])
async def test_a_queue_that_is_full_has_refused_the_message_and_no_connection_is_lost(
    executors: Executors, channel: AbstractChannel, verbatim: bool
) -> None:
    limits: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = await channel.declare_queue("full", exclusive=True, arguments=limits)
    asked = {"routing_key": "full", "verbatim": verbatim}
    assert await publish(executors, **asked) == Succeeded()
    ending = failure(await publish(executors, **asked))
    assert (ending.error.type, ending.retryable) == ("refused", True)
    assert "it is full" in ending.error.message
    await queue.purge()
    assert await publish(executors, **asked) == Succeeded()


async def test_a_message_that_comes_back_in_the_moment_its_sender_gives_up_stops_nobody(
    amqp_url: str, inbox: AbstractQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await connect(amqp_url, "test")
    channel: Any = await open_channel(connection, confirms=True)
    sending = asyncio.ensure_future(channel.basic_publish(b"", routing_key="no", mandatory=True))
    read = channel._read_content

    async def read_and_give_up(*frames: Any) -> Any:
        message = await read(*frames)
        sending.cancel()
        return message

    monkeypatch.setattr(channel, "_read_content", read_and_give_up)
    await asyncio.wait([sending])
    assert sending.cancelled()
    async with asyncio.timeout(5):
        for _ in range(20):  # more than what a channel has room for
            await channel.basic_publish(b"", routing_key="inbox", mandatory=True)
    await disconnect(connection)


async def test_a_queue_that_is_full_costs_no_line(amqp_url: str, full: str) -> None:
    connection = await connect(amqp_url, "test")
    line = Line(await open_channel(connection, confirms=True))
    with pytest.raises(DeliveryError):
        await line.publish(b"", "", full, b"\0\0")
    assert line.is_usable
    await disconnect(connection)


async def test_a_queue_that_is_full_proves_that_we_may_write_there(
    amqp_url: str, full: str
) -> None:
    """Those that come behind it do not wait for one another."""
    async with Cable(amqp_url).laid() as cable:
        connection = await connect(cable.url, "test")
        channel: Any = await open_channel(connection, confirms=True)
        proven = ProvenChannel(channel)
        with pytest.raises(DeliveryError):
            await proven.publish(b"", "", full, Basic.Properties())
        cable.stall()
        sending = [
            asyncio.ensure_future(proven.publish(b"", "", full, Basic.Properties()))
            for _ in range(2)
        ]
        await eventually(lambda: len(channel.confirmations) == 2)
        cable.flow()
        ends = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(end) for end in ends] == [DeliveryError] * 2
        await disconnect(connection)
