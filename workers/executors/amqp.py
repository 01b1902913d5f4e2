"""AMQP jobs: publish one message and wait for the broker's confirm.

An unknown outcome is a failure and is retried: the message may arrive twice, with the same
`message_id` and a higher `DueQ-Attempt`; a verbatim one carries neither, it arrives twice the same.
"""

from base64 import b64decode
from typing import Protocol

from pydantic_core import to_json

from pipeline.domain.errors import Rejected, Unavailable, UnknownOutcome
from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import AmqpWork, Job
from workers.executors.executor import failed
from workers.executors.fence import fence_headers

_PERSISTENT = 2


class Target(Protocol):
    """Publishes with confirms and mandatory: `pipeline.broker.target.RabbitTarget`.

    Both return when the broker has it in a queue, and raise `Rejected`, `Unavailable` or
    `UnknownOutcome`.
    """

    async def publish(
        self, *, exchange: str, routing_key: str, body: bytes, properties: bytes, message_id: str
    ) -> None:
        """`properties` hold this `message_id`, and nothing else in flight has it."""
        ...

    async def publish_alone(
        self, *, exchange: str, routing_key: str, body: bytes, properties: bytes
    ) -> None:
        """`properties` hold anything."""
        ...


class AmqpExecutor:
    """Publishes through what it is given."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def run(self, job: Job, work: AmqpWork) -> Ending:
        """Succeeds when the message is confirmed and reached a queue."""
        try:
            await self._publish(job, work)
        except Rejected as error:
            return failed(error.code, str(error))
        except UnknownOutcome as error:
            return failed("unknown_outcome", str(error))
        except Unavailable as error:
            return failed("unavailable", str(error))
        return Succeeded()

    async def _publish(self, job: Job, work: AmqpWork) -> None:
        body, content_type = _body(work)
        usual = {
            "content_type": content_type,
            "delivery_mode": _PERSISTENT,
            "message_id": job.id,
        }
        properties = work.raw_properties(usual, fence_headers(job))
        if work.is_plain:
            await self._target.publish(
                exchange=work.exchange,
                routing_key=work.routing_key,
                body=body,
                properties=properties,
                message_id=job.id,
            )
        else:
            await self._target.publish_alone(
                exchange=work.exchange,
                routing_key=work.routing_key,
                body=body,
                properties=properties,
            )


def _body(work: AmqpWork) -> tuple[bytes, str]:
    """The bytes and what they usually are."""
    if work.body_base64 is not None:
        return b64decode(work.body_base64), "application/octet-stream"
    if isinstance(work.body, str):
        return work.body.encode(), "text/plain"
    return to_json(work.body), "application/json"
