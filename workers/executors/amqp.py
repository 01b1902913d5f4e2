"""AMQP jobs: publish one message and wait for the broker's confirm.

An unknown outcome is a failure and is retried: the message may arrive twice, with the same
`message_id` and a higher `DueQ-Attempt`.
"""

from collections.abc import Mapping
from typing import Protocol

from pydantic_core import to_json

from pipeline.domain.errors import Rejected, Unavailable, UnknownOutcome
from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import AmqpWork, Job
from workers.executors.executor import failed
from workers.executors.fence import fence_headers

Headers = Mapping[str, str | int | float | bool]


class Publish(Protocol):
    """Publishes durably: `pipeline.broker.target.RabbitTarget.publish`."""

    async def __call__(
        self,
        *,
        exchange: str,
        routing_key: str,
        body: bytes,
        content_type: str,
        headers: Headers,
        message_id: str,
    ) -> None:
        """Return when the broker has it; raises `Rejected`, `Unavailable` or `UnknownOutcome`."""
        ...


class AmqpExecutor:
    """Publishes through what it is given."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    async def run(self, job: Job, work: AmqpWork) -> Ending:
        """Succeeds when the message is confirmed and reached a queue."""
        is_text = isinstance(work.body, str)
        try:
            await self._publish(
                exchange=work.exchange,
                routing_key=work.routing_key,
                body=work.body.encode() if is_text else to_json(work.body),
                content_type="text/plain" if is_text else "application/json",
                headers={**work.headers, **fence_headers(job)},
                message_id=job.id,
            )
        except Rejected as error:
            return failed(error.code, str(error))
        except UnknownOutcome as error:
            return failed("unknown_outcome", str(error))
        except Unavailable as error:
            return failed("unavailable", str(error))
        return Succeeded()
