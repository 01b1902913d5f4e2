"""The three ways in, as fast as the system takes it: single POSTs, batches, AMQP messages.

Each makes `jobs` no-op jobs (the built-in echo) of one name, whose payload is their number, and
tells which id got which payload.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Protocol

from infra.bench.measure import Measure
from infra.bench.target import Target
from infra.bench.wire import connected, post
from pipeline.broker.target import RabbitTarget
from pipeline.broker.topology import JOBS
from pipeline.domain.envelope import SUBMIT_KEY
from pipeline.domain.identity import id_of_key
from pipeline.domain.properties import properties_from_json

BATCH = 500
_SINGLE_CONNECTIONS = 32
_BATCH_CONNECTIONS = 4
_MESSAGES_IN_FLIGHT = 128
_SAID = {"content_type": "application/json", "delivery_mode": 2}
Accepted = dict[str, object]
"""Payload by id."""


class Load(Protocol):
    """A prepared load: building the requests is no part of the measurement."""

    def __init__(self, target: Target, name: str, jobs: int) -> None: ...

    def send(self) -> Accepted:
        """Return when all are accepted."""
        ...


class Singles:
    """`POST /api/jobs`, many connections."""

    def __init__(self, target: Target, name: str, jobs: int) -> None:
        self._target = target
        self._requests = [post("/api/jobs", body(name, number)) for number in range(jobs)]

    def send(self) -> Accepted:
        """One request a job."""
        with connected(self._target.http, _SINGLE_CONNECTIONS) as wire:
            answers = wire.drive(self._requests)
        return {json.loads(answer)["id"]: number for number, answer in enumerate(answers)}


class Batches:
    """`POST /api/jobs/batch` of 500, a few connections."""

    def __init__(self, target: Target, name: str, jobs: int) -> None:
        self._target = target
        self._requests = [
            post("/api/jobs/batch", b"[" + b",".join(body(name, n) for n in part) + b"]")
            for part in _parts(jobs)
        ]

    def send(self) -> Accepted:
        """One request for 500 jobs."""
        with connected(self._target.http, _BATCH_CONNECTIONS) as wire:
            answers = wire.drive(self._requests)
        ids = [id_ for answer in answers for id_ in json.loads(answer)["ids"]]
        return {id_: number for number, id_ in enumerate(ids)}


class Messages:
    """One AMQP message a job, published to `dueq.jobs` with confirms."""

    def __init__(self, target: Target, name: str, jobs: int) -> None:
        self._target = target
        self._name = name
        self._bodies = [body(name, number) for number in range(jobs)]

    def send(self) -> Accepted:
        """Many unconfirmed at a time; `message_id` names the job."""
        asyncio.run(self._publish_all())
        keys = (self._key(number) for number in range(len(self._bodies)))
        return {id_of_key(key): number for number, key in enumerate(keys)}

    async def _publish_all(self) -> None:
        waiting = iter(enumerate(self._bodies))
        async with RabbitTarget(self._target.amqp) as broker, asyncio.TaskGroup() as group:
            for _ in range(_MESSAGES_IN_FLIGHT):
                group.create_task(self._publish_some(broker, waiting))

    async def _publish_some(
        self, broker: RabbitTarget, waiting: Iterator[tuple[int, bytes]]
    ) -> None:
        for number, content in waiting:
            await broker.publish(
                exchange=JOBS,
                routing_key=SUBMIT_KEY,
                body=content,
                properties=properties_from_json(_SAID | {"message_id": self._key(number)}, {}),
                message_id=self._key(number),
            )

    def _key(self, number: int) -> str:
        return f"{self._name}/{number}"


LOADS: Mapping[Measure, type[Load]] = {
    Measure.SINGLE: Singles,
    Measure.BATCH: Batches,
    Measure.AMQP: Messages,
}


def body(name: str, number: int) -> bytes:
    """A job that does nothing."""
    return json.dumps({"name": name, "payload": number}).encode()


def _parts(jobs: int) -> Iterator[range]:
    for start in range(0, jobs, BATCH):
        yield range(start, min(start + BATCH, jobs))
