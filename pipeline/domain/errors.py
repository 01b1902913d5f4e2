"""What can go wrong, by what the caller can do about it.

DueQError
├── Rejected        the request is wrong and stays wrong: mend it (HTTP 422, AMQP: parked)
├── NotFound        there is no such job, queue or schedule (404)
├── Conflict        the job is not in a state that allows this (409)
├── Outdated        it has changed since the caller read it: read it again (412)
└── Unavailable     a server does not answer: the same again later may work (503, Retry-After)
    └── UnknownOutcome   the write may or may not have happened: read before repeating it
"""

from dataclasses import dataclass


class DueQError(Exception):
    """The root; never raised itself."""


@dataclass(frozen=True)
class Flaw:
    """One thing wrong in what a user sent.

    `pointer` is an RFC 6901 JSON pointer into the body ("" is the body itself).
    """

    pointer: str
    detail: str


class Rejected(DueQError):
    """The request can never succeed as it is.

    `code` is one word: `malformed` (not JSON we accept), `invalid` (JSON, but not what is asked
    for), `too_large`, `conflict` (its idempotency key names another job), `deleted` (the job of its
    key was deleted; HTTP 409). Of an amqp job that RabbitMQ refused, `unroutable` and the like.
    """

    def __init__(self, code: str, *flaws: Flaw) -> None:
        super().__init__("; ".join(f"{flaw.pointer or '/'}: {flaw.detail}" for flaw in flaws))
        self.code = code
        self.flaws = flaws


class NotFound(DueQError):
    """There is no such thing (any more)."""


class Conflict(DueQError):
    """It exists, but its state does not allow this."""


class Outdated(DueQError):
    """It has changed since the caller read it."""


class Unavailable(DueQError):
    """A server is down, unreachable or too slow; `server` names it."""

    def __init__(self, server: str, detail: str) -> None:
        super().__init__(f"{server} is unavailable: {detail}")
        self.server = server


class UnknownOutcome(Unavailable):
    """The request was sent and no answer came: it may have been applied."""
