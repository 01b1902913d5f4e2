"""Idempotency keys: the same key and the same job is the same id; another job is an error (R2).

So is a job that was deleted: a "202" would name a job that is not there. Its id stays used for a
day, so that no copy of it that is still under way brings it back.
"""

from gateway.asked import Asked
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.identity import id_of_element, id_of_key
from pipeline.domain.states import State
from pipeline.ports import Standing

MAX_KEY = 255


def read_header(raw: bytes | None) -> str | None:
    """The `Idempotency-Key` header; raises `Rejected`."""
    if raw is None:
        return None
    try:
        value = raw.decode()  # the same text in header and body is the same key
    except UnicodeDecodeError:
        value = ""
    if not 1 <= len(value) <= MAX_KEY:
        flaw = Flaw("/idempotency_key", f"the header must be 1 to {MAX_KEY} characters in UTF-8")
        raise Rejected("invalid", flaw)
    return value


def key_of_one(header: str | None, asked: Asked) -> str | None:
    """The key of a single job, from the header or the body; raises `Rejected` if they differ."""
    key = asked.spec.idempotency_key
    if header is not None and key is not None and header != key:
        flaw = Flaw("/idempotency_key", "differs from the Idempotency-Key header")
        raise Rejected("invalid", flaw)
    return header if key is None else key


def id_in_batch(header: str | None, asked: Asked) -> str | None:
    """The id of an element: by its own key, else by the request's key and its place in it."""
    if asked.spec.idempotency_key is not None:
        return id_of_key(asked.spec.idempotency_key)
    return None if header is None else id_of_element(header, asked.index)


def objection(asked_fingerprint: str, stands: Standing) -> Rejected | None:
    """Why the job that stands under a key cannot be the answer; None: it is the one asked for."""
    if asked_fingerprint != stands.fingerprint:
        return used_for_another()
    if stands.state is State.BURIED:
        text = "is that of a job that was deleted; it is free again a day after that"
        return Rejected("deleted", Flaw("/idempotency_key", text))
    return None


def used_for_another() -> Rejected:
    """The key names another job already; the first one stands."""
    return Rejected("conflict", Flaw("/idempotency_key", "was used for a job with another body"))
