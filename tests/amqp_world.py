"""Amqp jobs to test with: an executor on real brokers, and a queue to look into."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractQueue

from pipeline.broker.targets import RabbitTargets
from pipeline.clock import StoreClock
from pipeline.domain.execution import Ending
from tests.builders import a_job
from workers.executors.amqp import AmqpExecutor
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.secrets import Secrets
from workers.tasks import Registry


@asynccontextmanager
async def inbox_on(url: str) -> AsyncIterator[AbstractQueue]:
    """The queue `inbox`, which takes `hello` of the exchange `theirs`."""
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("theirs", durable=True)
        queue = await channel.declare_queue("inbox", durable=True)
        await queue.bind(exchange, "hello")
        yield queue


@asynccontextmanager
async def executors_on(
    url: str,
    secrets: Secrets = Secrets({}),  # noqa: B008 - knows nothing
) -> AsyncIterator[Executors]:
    async with RabbitTargets(url, StoreClock()) as targets:
        yield executors_of(targets, secrets)


def executors_of(targets: RabbitTargets, secrets: Secrets) -> Executors:
    amqp = AmqpExecutor(targets, secrets)
    return Executors(TaskExecutor(Registry(), threads=1), amqp=amqp)


async def publish(executors: Executors, **fields: Any) -> Ending:
    return await executors.run(a_job(body={"amqp": fields}, id="the-job", attempt=3))
