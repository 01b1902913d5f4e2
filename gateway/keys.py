"""Idempotency keys: the same key and the same job is the same id; another job is an error (R2)."""

from gateway.asked import Asked
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.identity import fingerprint, id_of_element, id_of_key

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


def check_same(asked: Asked, stored_fingerprint: str) -> None:
    """Raise `Rejected` unless the job under this key is the one that is asked for."""
    if fingerprint(asked.body) != stored_fingerprint:
        raise used_for_another()


def used_for_another() -> Rejected:
    """The key names another job already; the first one stands."""
    return Rejected("invalid", Flaw("/idempotency_key", "was used for a job with another body"))
