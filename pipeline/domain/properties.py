"""The properties of an AMQP 0-9-1 message, as the bytes of its content header and as JSON.

As bytes they are kept and written again without a loss; the headers among them are a table
(`domain.fields`). Pure.
"""

import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pipeline.domain.fields import (
    Unreadable,
    check_table,
    pack,
    read_table,
    table_from_json,
    text,
    unpack,
    value_to_json,
)

Values = Mapping[str, bytes]
"""Property name → its bytes; of `headers` the table without its length."""
PROPERTIES = (
    "content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id",
    "reply_to", "expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id",
)  # fmt: skip
"""In the order of the protocol: the first has the highest bit of the flags."""
_BITS = tuple((1 << (15 - number), name) for number, name in enumerate(PROPERTIES))
_HEADERS = next(bit for bit, name in _BITS if name == "headers") >> 8
_OCTETS = ("delivery_mode", "priority")
TRANSIENT, PERSISTENT = 1, 2
"""Delivery modes: what a broker that stops may forget, and what it may not."""


def read_properties(raw: bytes) -> dict[str, bytes]:
    """The properties in `raw` (flags and values, as in a content header)."""
    (flags,) = unpack(">H", raw[:2])
    values: dict[str, bytes] = {}
    offset = 2
    for bit, name in _BITS:
        if flags & bit:
            start, end = _extent(name, raw, offset)
            if end > len(raw):
                raise Unreadable(f"{name} ends before its length")
            values[name] = raw[start:end]
            offset = end
    if flags & 3 or offset != len(raw):
        raise Unreadable("these are not the properties of a message")
    return values


def text_of(values: Values, name: str) -> str | None:
    """A property that is text; None if it is missing or not UTF-8."""
    value = values.get(name)
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def write_properties(values: Values) -> bytes:
    """The inverse of `read_properties`."""
    flags, parts = 0, []
    for bit, name in _BITS:
        if (value := values.get(name)) is not None:
            flags |= bit
            parts.append(_length(name, value) + value)
    return b"".join([struct.pack(">H", flags), *parts])


def _extent(name: str, raw: bytes, offset: int) -> tuple[int, int]:
    if name in _OCTETS:
        return offset, offset + 1
    if name == "timestamp":
        return offset, offset + 8
    form = ">I" if name == "headers" else ">B"
    start = offset + struct.calcsize(form)
    return start, start + int(unpack(form, raw[offset:start])[0])


def _length(name: str, value: bytes) -> bytes:
    if name in _OCTETS or name == "timestamp":
        return b""
    return pack(">I" if name == "headers" else ">B", len(value))


def properties_from_json(properties: Mapping[str, Any], headers: Mapping[str, Any]) -> bytes:
    """The bytes of these properties; what is None is left out."""
    values: dict[str, bytes] = {}
    for name, value in properties.items():
        if isinstance(value, str):
            values[name] = value.encode()
        elif value is not None:
            values[name] = pack(">Q" if name == "timestamp" else ">B", value)
    if headers:
        values["headers"] = table_from_json(headers)
    return write_properties(values)


def properties_to_json(values: Values) -> dict[str, Any]:
    """The inverse, without the headers; raises `Unreadable` for what is not UTF-8."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in _OCTETS:
            found[name] = value[0]
        elif name == "timestamp":
            found[name] = struct.unpack(">Q", value)[0]
        elif name != "headers":
            found[name] = text(value)
    return found


def check_properties(raw: bytes) -> None:
    """Raise `Unreadable` unless a broker can read them: one that cannot ends the connection."""
    check_table(read_properties(raw).get("headers", b""))


def read_headers(raw: bytes) -> list[tuple[str, Any]]:
    """The headers of these properties whose name and value JSON can hold."""
    if not raw or not raw[0] & _HEADERS:
        return []
    found = []
    for name, value in read_table(read_properties(raw).get("headers", b"")):
        with suppress(Unreadable):
            found.append((text(name), value_to_json(value)))
    return found
