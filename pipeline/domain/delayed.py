"""Delayed publish: a message for later, as the job that publishes it.

Whoever publishes to the exchange `dueq.delay` gets the same message published when it is due: body,
properties and headers byte for byte, but for the headers that said when and where, and `user_id`,
which the broker lets nobody forge. Pointers of refusals (`/headers/x-delay`) go into the message.

There is no identity in such a message (applications use a `message_id` again as they like), so a
message that is delivered twice becomes two jobs: at least once.
"""

import base64
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic_core import to_json

from pipeline.domain.amqp_work import is_our_own
from pipeline.domain.body import MAX_JOB_BYTES, check_value, read_spec
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.fields import (
    Header,
    Unreadable,
    read_table,
    table_to_json,
    value_to_json,
    write_table,
)
from pipeline.domain.instants import from_ms, rfc3339
from pipeline.domain.job import LONGEST_DELAY, JobSpec
from pipeline.domain.properties import properties_to_json, read_properties, write_properties

DELAY_EXCHANGE = "dueq.delay"
MAX_DELAYED_BYTES = 128 * 1024
"""Of whatever bytes it is made, the job stays within what a job may be (256 KiB, with some 60 KiB
of headers): it is listed, read back in batches and shown like any other."""
MAX_ATTEMPTS = 20
"""Some six hours: longer than a broker or an exchange is usually away."""

X_DELAY, X_DELIVER_AT = "x-delay", "x-deliver-at"
X_EXCHANGE, X_ROUTING_KEY = "x-exchange", "x-routing-key"
MS_AS_TEXT = r"[+-]?[0-9]{1,18}"
"""Of so many digits each number fits 64 bits."""
_FIRST_MS = 10**11
"""March 1973. Less is a time in seconds, told by mistake: the message would go out at once."""
_OURS = {name.encode() for name in (X_DELAY, X_DELIVER_AT, X_EXCHANGE, X_ROUTING_KEY)}
_THE_BROKERS = {b"x-delivery-count"}
"""RabbitMQ adds it when it delivers again."""


def read_delayed(body: bytes, routing_key: str, properties: bytes) -> tuple[JobSpec, Any]:
    """The job that publishes this message when it is due: its spec, and its spec as a body."""
    if len(body) > MAX_DELAYED_BYTES:
        text = f"a body of {len(body)} bytes; {MAX_DELAYED_BYTES} are allowed to wait"
        raise Rejected("too_large", Flaw("", text))
    try:
        values = read_properties(properties)
        entries = read_table(values.pop("headers", b""))
    except Unreadable as error:
        raise Rejected("malformed", Flaw("/properties", str(error))) from None
    headers = _instructions(entries)
    target = _target(headers, routing_key)
    times = _times(headers)
    kept = [entry for entry in entries if entry[0] not in _OURS | _THE_BROKERS]
    values.pop("user_id", None)
    if kept:
        values["headers"] = write_table(kept)
    spec, job = _spec(times, target | _body(body), write_properties(values))
    if (size := len(to_json(job))) > MAX_JOB_BYTES:
        text = f"with its headers a job of {size} bytes; {MAX_JOB_BYTES} are allowed"
        raise Rejected("too_large", Flaw("/headers", text))
    return spec, job


def _spec(times: dict[str, Any], amqp: dict[str, Any], raw: bytes) -> tuple[JobSpec, Any]:
    """With properties and headers that a person can read, if those say exactly the same."""
    with suppress(Rejected, Unreadable):
        readable = _job(times, amqp | _readable(read_properties(raw)))
        check_value(readable)
        spec = read_spec(readable)
        if spec.amqp is not None and spec.amqp.raw_properties({}, {}) == raw:
            return spec, readable
    exact = _job(times, amqp | {"properties_base64": base64.b64encode(raw).decode()})
    try:
        return read_spec(exact), exact
    except Rejected as error:
        raise Rejected(error.code, Flaw("/headers", error.flaws[0].detail)) from None


def _job(times: dict[str, Any], amqp: dict[str, Any]) -> dict[str, Any]:
    return {"amqp": amqp | {"verbatim": True}, "retry": {"max_attempts": MAX_ATTEMPTS}, **times}


def _readable(values: dict[str, bytes]) -> dict[str, Any]:
    found = {
        "properties": properties_to_json(values),
        "headers": table_to_json(values.get("headers", b"")),
    }
    return {name: value for name, value in found.items() if value}


def _body(body: bytes) -> dict[str, Any]:
    """Text as text, unless it grows more as JSON than bytes do (control characters: sixfold)."""
    exact = base64.b64encode(body).decode()
    with suppress(UnicodeDecodeError):
        text = body.decode()
        if len(to_json(text)) <= max(len(exact), 64):
            return {"body": text}
    return {"body_base64": exact}


# ------------------------------------------------------------------------------- what headers say


def _instructions(entries: list[Header]) -> dict[str, Any]:
    """Our own headers as Python has them."""
    found: dict[str, Any] = {}
    for name, value in entries:
        if name in _OURS:
            try:
                found[name.decode()] = value_to_json(value)
            except Unreadable as error:
                raise _refused(name.decode(), str(error)) from None
    return found


def _target(headers: dict[str, Any], routing_key: str) -> dict[str, Any]:
    exchange = _word(headers, X_EXCHANGE, "")
    key = _word(headers, X_ROUTING_KEY, routing_key)
    if is_our_own(exchange, key):
        name = X_EXCHANGE if exchange else X_ROUTING_KEY
        raise _refused(name, "DueQ's own exchanges and queues are not a target")
    return {"exchange": exchange, "routing_key": key}


def _word(headers: dict[str, Any], name: str, missing: str) -> str:
    value = headers.get(name, missing)
    if not isinstance(value, str) or len(value.encode()) > 255 or "\0" in value:
        raise _refused(name, "must be text of at most 255 bytes")
    return value


def _times(headers: dict[str, Any]) -> dict[str, Any]:
    if (X_DELAY in headers) == (X_DELIVER_AT in headers):
        raise _refused(X_DELAY, f"one of {X_DELAY} and {X_DELIVER_AT} says when, not both or none")
    if X_DELAY in headers:
        return _delay(headers[X_DELAY])
    return _deliver_at(headers[X_DELIVER_AT])


def _delay(value: Any) -> dict[str, Any]:
    """Milliseconds, as the plugin took them: any integer, also as text; negative is at once."""
    ms = _integer(value)
    if ms is None:
        raise _refused(X_DELAY, "must be an integer, in milliseconds")
    if ms > LONGEST_DELAY * 1000:
        text = f"must be at most {LONGEST_DELAY * 1000} milliseconds (ten years)"
        raise _refused(X_DELAY, text)
    return _checked(X_DELAY, lambda: {"delay": ms / 1000} if ms > 0 else {})


def _deliver_at(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return _checked(X_DELIVER_AT, lambda: {"run_at": value})
    seconds = value.get("!timestamp") if isinstance(value, dict) else None
    ms = _integer(value) if seconds is None else seconds * 1000
    if ms is None:
        text = "must be an RFC 3339 time, an AMQP timestamp, or a Unix time in milliseconds"
        raise _refused(X_DELIVER_AT, text)
    if seconds is None and 0 < ms < _FIRST_MS:
        text = f"{ms} milliseconds are a day of 1970-1973: a Unix time in seconds goes as timestamp"
        raise _refused(X_DELIVER_AT, text)
    return _checked(X_DELIVER_AT, lambda: {"run_at": rfc3339(from_ms(ms))})


def _integer(value: Any) -> int | None:
    """Of any width; as text only what fits 64 bits."""
    if isinstance(value, dict) and len(value) == 1:
        (name, value), *_ = value.items()
        if not name.startswith(("!int", "!uint")):
            return None
    if isinstance(value, str) and re.fullmatch(MS_AS_TEXT, value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _checked(name: str, times: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """As a job's times are checked; the refusal points to the header that said it."""
    try:
        found = times()
        read_spec(found)
    except Rejected as error:
        raise _refused(name, error.flaws[0].detail) from None
    except (OverflowError, ValueError, OSError):
        raise _refused(name, "is no time that a job can have") from None
    return found


def _refused(name: str, text: str) -> Rejected:
    return Rejected("invalid", Flaw(f"/headers/{name}", text))
