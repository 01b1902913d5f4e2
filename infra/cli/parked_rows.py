"""A parked message as a row: its JSON says all of it, its table what a person can read."""

import base64
import codecs
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.cli.output import Format, harmless

if TYPE_CHECKING:
    from pipeline.broker.parked_queue import Parked

_START = 100
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def in_list(parked: "Parked", form: Format) -> Mapping[str, Any]:
    """With the start of its body; null if that is not text."""
    row = _row(parked) | {"body": _start(parked.body)}
    return row if form is not Format.TABLE else _readable(row) | {"body": body_of(row)}


def alone(parked: "Parked", form: Format) -> Mapping[str, Any]:
    """All of it."""
    row = _row(parked) | {"content_type": parked.text("content_type"), "headers": parked.headers}
    try:
        row["body"] = parked.body.decode()
    except UnicodeDecodeError:
        row["body_base64"] = base64.b64encode(parked.body).decode()
    return row if form is not Format.TABLE else _readable(row)


def body_of(row: Mapping[str, Any]) -> str:
    """The body of a row as a person reads it, with its lines; nothing in it is obeyed by a
    terminal."""
    text = row.get("body")
    if text is None:
        return f"{row['size']} bytes that are not text"
    return harmless(text)


def _row(parked: "Parked") -> dict[str, Any]:
    notes = parked.notes
    return {
        "id": parked.id,
        "code": notes.get("code"),
        "error": notes.get("error"),
        "pointer": notes.get("pointer"),
        "parked_at": notes.get("parked-at"),
        "age": _age(notes.get("parked-at")),
        "exchange": parked.exchange,
        "routing_key": parked.routing_key,
        "message_id": parked.text("message_id"),
        "size": len(parked.body),
    }


def _age(parked_at: str | None) -> int | None:
    """Whole seconds since it was parked, by this machine's clock."""
    try:
        then = datetime.fromisoformat(parked_at or "")
        return max(0, round((datetime.now(UTC) - then).total_seconds()))
    except (ValueError, TypeError):
        return None


def _start(body: bytes) -> str | None:
    """The first characters, also where the cut goes through one."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(body[: 4 * _START])
    except UnicodeDecodeError:
        return None
    return text[:_START]


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "age": _span(row["age"])}


def _span(seconds: int | None) -> str | None:
    """In the largest unit of which it is one or more."""
    if seconds is None:
        return None
    size, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{seconds // size} {unit}"
