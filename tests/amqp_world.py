"""Amqp jobs to test with: an executor on real brokers, and a queue to look into."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
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


class Partner:
    """Another vhost with a queue `orders`; the secret that names it is a file."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.secret = {"secret": "PARTNER"}

    def become(self, url: str, name: str = "PARTNER") -> None:
        """The secret is this URL from now on."""
        (self.folder / name).write_text(f"{url}\n")

    async def orders(self) -> list[bytes]:
        """What has come there."""
        connection = await aio_pika.connect(self.url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("orders", durable=True)
            found = []
            while message := await queue.get(no_ack=True, fail=False):
                found.append(message.body)
            return found


def known(targets: RabbitTargets, partner: Partner) -> Executors:
    """What a worker runs that knows the secrets in the partner's folder."""
    return executors_of(targets, Secrets({}, partner.folder))
