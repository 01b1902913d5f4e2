"""AMQP jobs: publish one message and wait for the broker's confirm.

An unknown outcome is a failure and is retried: the message may arrive twice, with the same
`message_id` and a higher `DueQ-Attempt`; a verbatim one carries neither, it arrives twice the same.
A broker that is named by a secret is looked up anew for each attempt, so that a secret that was
replaced counts from the next one on; what is reported never says where it is.
"""

from base64 import b64decode
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pydantic_core import to_json

from pipeline.domain.amqp_work import AmqpWork
from pipeline.domain.errors import DueQError, Rejected, Unavailable, UnknownOutcome
from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import Job
from pipeline.domain.properties import PERSISTENT
from pipeline.domain.secret import SecretRef
from pipeline.server_url import require_usable
from workers.executors.executor import failed
from workers.executors.fence import fence_headers
from workers.secrets import NoSuchSecret, Revealed, Secrets

_SCHEMES = ("amqp", "amqps")


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


class Targets(Protocol):
    """The brokers: `pipeline.broker.targets.RabbitTargets`."""

    def to(self, url: str | None) -> AbstractAsyncContextManager[Target]:
        """The broker of this URL, None: the default one."""
        ...


class AmqpExecutor:
    """Publishes to where jobs say."""

    def __init__(self, targets: Targets, secrets: Secrets) -> None:
        self._targets = targets
        self._secrets = secrets

    async def run(self, job: Job, work: AmqpWork) -> Ending:
        """Succeeds when the message is confirmed and reached a queue.

        Every failure is retryable: exchanges, queues, rights and secrets come later, too.
        """
        reveal = Revealed(self._secrets)
        try:
            url = None if work.url is None else _broker(work.url, reveal)
            async with self._targets.to(url) as target:
                await _publish(target, job, work)
        except NoSuchSecret as missing:
            return failed("missing_secret", str(missing))
        except (Rejected, Unavailable) as error:
            return failed(_code(error), reveal.without_in(_text(error, work)))
        return Succeeded()


def _broker(reference: SecretRef, reveal: Revealed) -> str:
    """The URL; whatever is reported from now on has neither it nor its password in it."""
    url = reveal(reference)
    try:
        require_usable(url, _SCHEMES)
    except ValueError as flaw:
        raise NoSuchSecret(reference.secret, f"is no URL of an AMQP broker: {flaw}") from None
    if password := urlsplit(url).password:
        reveal.hide(password)
        reveal.hide(unquote(password))
    return url


def _code(error: Rejected | Unavailable) -> str:
    if isinstance(error, Rejected):
        return error.code
    return "unknown_outcome" if isinstance(error, UnknownOutcome) else "unavailable"


def _text(error: DueQError, work: AmqpWork) -> str:
    """Which of the brokers it was, by the name of its secret."""
    return str(error) if work.url is None else f"{error} (broker of secret {work.url.secret})"


async def _publish(target: Target, job: Job, work: AmqpWork) -> None:
    body, content_type = _body(work)
    usual = {
        "content_type": content_type,
        "delivery_mode": PERSISTENT,
        "message_id": job.id,
    }
    properties = work.raw_properties(usual, fence_headers(job))
    if work.is_plain:
        await target.publish(
            exchange=work.exchange,
            routing_key=work.routing_key,
            body=body,
            properties=properties,
            message_id=job.id,
        )
    else:
        await target.publish_alone(
            exchange=work.exchange,
            routing_key=work.routing_key,
            body=body,
            properties=properties,
        )


def _body(work: AmqpWork) -> tuple[bytes, str | None]:
    """The bytes and what they usually are; nothing is sent for a body that nobody asked for."""
    if work.is_empty:
        return b"", None
    if work.body_base64 is not None:
        return b64decode(work.body_base64), "application/octet-stream"
    if isinstance(work.body, str):
        return work.body.encode(), "text/plain"
    return to_json(work.body), "application/json"
