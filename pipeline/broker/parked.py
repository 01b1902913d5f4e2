"""What was set aside: the message as it came, and in `dueq-` headers why, when and whence.

`dueq-id` is given once, when it is parked. It is what a person names it by, and under it a job
without any other identity is submitted again, so that a crash in the middle of that makes no second
one, and two messages that say the same stay two.
"""

from dataclasses import dataclass
from datetime import datetime

from pipeline.broker.topology import JOBS
from pipeline.domain.delayed import DELAY_EXCHANGE
from pipeline.domain.envelope import ACCEPTED_KEY, SUBMIT_KEY
from pipeline.domain.errors import Rejected
from pipeline.domain.fields import (
    Header,
    Unreadable,
    read_table,
    value_from_json,
    write_table,
)
from pipeline.domain.instants import rfc3339
from pipeline.domain.properties import PERSISTENT, read_properties, write_properties
from pipeline.ports import Delivery, Remains

MAX_HEADER_BYTES = 100_000
"""A header frame beyond the broker's frame size (128 KiB) would close the connection."""
PREFIX = b"dueq-"
_DROPPED = (b"CC", b"BCC", b"x-delivery-count")


@dataclass(frozen=True, slots=True)
class Notes:
    """What is written on it."""

    id: str
    parked_at: datetime
    error: Rejected


def parked_properties(delivery: Delivery, remains: Remains | None, notes: Notes) -> bytes:
    """The sender's own properties with our reason; without his headers where they do not fit.

    `user_id` and `expiration` are left out: the broker would refuse the one from us, and by the
    other the parked message would vanish.
    """
    values = read_properties(delivery.properties)
    for name in ("user_id", "expiration"):
        values.pop(name, None)
    values["delivery_mode"] = bytes([PERSISTENT])
    if remains is not None:
        values["content_type"] = remains.content_type.encode()
        values.pop("message_id", None)
        if remains.message_id is not None:
            values["message_id"] = _short(remains.message_id)
    ours = _our_headers(delivery, notes)
    values["headers"] = write_table(_kept(values.get("headers", b"")) + ours)
    if len(values["headers"]) > MAX_HEADER_BYTES:
        values["headers"] = write_table(ours)
    return write_properties(values)


def _kept(headers: bytes) -> list[Header]:
    try:
        entries = read_table(headers)
    except Unreadable:
        return []
    return [
        (name, value)
        for name, value in entries
        if name not in _DROPPED and not name.startswith(PREFIX)
    ]


def _our_headers(delivery: Delivery, notes: Notes) -> list[Header]:
    error = notes.error
    exchange, routing_key = _home(delivery)
    said = {
        "code": error.code,
        "error": str(error)[:1000],
        "pointer": error.flaws[0].pointer[:1000] if error.flaws else "",
        "id": notes.id,
        "parked-at": rfc3339(notes.parked_at),
        "exchange": exchange,
        "routing-key": routing_key,
    }
    return [
        (PREFIX + name.encode(), value_from_json(text.encode(errors="replace").decode()))
        for name, text in said.items()
    ]


def _home(delivery: Delivery) -> tuple[str, str]:
    """Where it would be published to be judged again."""
    if delivery.exchange == DELAY_EXCHANGE:
        return DELAY_EXCHANGE, delivery.routing_key
    return JOBS, ACCEPTED_KEY if delivery.routing_key == ACCEPTED_KEY else SUBMIT_KEY


def _short(text: str) -> bytes:
    """`<message_id>/<index>` of a long one is longer than a property may be: its end, which still
    tells the elements apart. Cut between characters, or nobody would read it again."""
    return text.encode()[-255:].decode(errors="ignore").encode()
