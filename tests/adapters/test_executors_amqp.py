"""AMQP jobs against a real RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel, AbstractQueue

from pipeline.broker.target import RabbitTarget
from pipeline.domain.execution import Ending, Failed, Succeeded
from tests.builders import a_job
from workers.executors.amqp import AmqpExecutor
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.tasks import Registry


@pytest_asyncio.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        yield await connection.channel()


@pytest_asyncio.fixture
async def inbox(channel: AbstractChannel) -> AbstractQueue:
    exchange = await channel.declare_exchange("theirs", durable=True)
    queue = await channel.declare_queue("inbox", durable=True)
    await queue.bind(exchange, "hello")
    return queue


@pytest_asyncio.fixture
async def executors(amqp_url: str) -> AsyncIterator[Executors]:
    async with RabbitTarget(amqp_url) as target:
        yield Executors(TaskExecutor(Registry(), threads=1), amqp=AmqpExecutor(target))


async def publish(executors: Executors, **fields: Any) -> Ending:
    return await executors.run(a_job(body={"amqp": fields}, id="the-job", attempt=3))


def failure(ending: Ending) -> Failed:
    assert isinstance(ending, Failed)
    return ending


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
    async with RabbitTarget("amqp://guest:guest@127.0.0.1:1/") as target:
        executors = Executors(TaskExecutor(Registry(), threads=1), amqp=AmqpExecutor(target))
        ending = failure(await publish(executors, routing_key="k"))
    assert ending.error.type == "unavailable"
    assert ending.retryable


@pytest.mark.parametrize("size", [1, 200_000])
async def test_a_large_body_arrives_whole(
    executors: Executors, inbox: AbstractQueue, size: int
) -> None:
    await publish(executors, routing_key="inbox", body="x" * size)
    assert len((await inbox.get()).body) == size
