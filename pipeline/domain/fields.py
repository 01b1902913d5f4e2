"""AMQP 0-9-1 header tables: byte for byte, and as JSON where JSON can hold them.

A client library reads an 8-bit and a 64-bit integer as the same number and writes back a third
width; a headers exchange tells them apart. So what is to be published again later is kept as it
came. As JSON, text, 64-bit integers, doubles, booleans, void, arrays and tables are themselves;
every other type is an object with one member that names it: `{"!int32": 5}`, `{"!bytes": "AAE="}`.

Whether JSON holds something exactly is not reasoned about: whoever needs it writes it back and
compares. Pure, and it never recurses deeper than JSON may be nested.
"""

import base64
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Header = tuple[bytes, bytes]
"""A header: its name, and its value with the byte of the type before it."""

_FIXED = {b"t": 1, b"b": 1, b"B": 1, b"s": 2, b"u": 2, b"I": 4, b"i": 4, b"l": 8}
_FIXED |= {b"f": 4, b"d": 8, b"D": 5, b"T": 8, b"V": 0}
_NUMBERS = {
    "int8": (b"b", ">b"), "uint8": (b"B", ">B"), "int16": (b"s", ">h"), "uint16": (b"u", ">H"),
    "int32": (b"I", ">i"), "uint32": (b"i", ">I"), "float32": (b"f", ">f"),
    "timestamp": (b"T", ">Q"),
}  # fmt: skip
_NUMBER_OF = {tag: (name, form) for name, (tag, form) in _NUMBERS.items()}
_DEEPEST, _DEEPEST_RAW = 20, 200


class Unreadable(ValueError):
    """These bytes are no table or properties, or this JSON is none."""


def read_table(raw: bytes) -> list[Header]:
    """The headers of a table, in order; a name may stand there twice."""
    headers, offset = [], 0
    while offset < len(raw):
        start = offset + 1 + raw[offset]
        end = _end_of_value(raw, start)
        headers.append((raw[offset + 1 : start], raw[start:end]))
        offset = end
    return headers


def write_table(headers: Sequence[Header]) -> bytes:
    """The inverse of `read_table`."""
    return b"".join(pack(">B", len(name)) + name + value for name, value in headers)


def _end_of_value(raw: bytes, offset: int) -> int:
    tag = raw[offset : offset + 1]
    if tag in _FIXED:
        end = offset + 1 + _FIXED[tag]
    elif tag in (b"S", b"A", b"F", b"x"):
        end = offset + 5 + int(unpack(">I", raw[offset + 1 : offset + 5])[0])
    else:
        raise Unreadable(f"{tag!r} is not a type of a header")
    if end > len(raw):
        raise Unreadable("a header ends before its length")
    return end


def check_table(raw: bytes) -> None:
    """Raise `Unreadable` unless a broker can read it all: one that cannot ends the connection."""
    _check_values(value for _, value in read_table(raw))


def _check_values(values: Iterable[bytes], depth: int = 0) -> None:
    if depth > _DEEPEST_RAW:
        raise Unreadable("is nested too deep")
    for tagged in values:
        if tagged[:1] in (b"d", b"f"):
            value_to_json(tagged)  # one that is not finite ends the connection as well
        elif tagged[:1] == b"F":
            _check_values((value for _, value in read_table(tagged[5:])), depth + 1)
        elif tagged[:1] == b"A":
            _check_values(_elements(tagged[5:]), depth + 1)


def table_to_json(raw: bytes, depth: int = 0) -> dict[str, Any]:
    """A table as a JSON object; raises `Unreadable` for what cannot be one."""
    return {text(name): value_to_json(value, depth + 1) for name, value in read_table(raw)}


def value_to_json(tagged: bytes, depth: int = 0) -> Any:
    """The value of a header as JSON."""
    if depth > _DEEPEST:
        raise Unreadable("is nested too deep")
    tag, data = tagged[:1], tagged[1:]
    if tag in _NUMBER_OF:
        name, form = _NUMBER_OF[tag]
        return {f"!{name}": _finite(struct.unpack(form, data)[0])}
    if tag == b"A":
        return [value_to_json(each, depth + 1) for each in _elements(data[4:])]
    if tag == b"F":
        return table_to_json(data[4:], depth)
    return _scalar_to_json(tag, data)


def _scalar_to_json(tag: bytes, data: bytes) -> Any:
    match tag:
        case b"S":
            return _string_to_json(data[4:])
        case b"t":
            return data != b"\0"
        case b"l":
            return struct.unpack(">q", data)[0]
        case b"d":
            return _finite(struct.unpack(">d", data)[0])
        case b"V":
            return None
        case b"D":
            return {"!decimal": list(struct.unpack(">BI", data))}
        case _:
            return {"!bytes": base64.b64encode(data[4:]).decode()}


def _elements(raw: bytes) -> Iterator[bytes]:
    offset = 0
    while offset < len(raw):
        end = _end_of_value(raw, offset)
        yield raw[offset:end]
        offset = end


def _string_to_json(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"!string": base64.b64encode(data).decode()}


def table_from_json(table: Mapping[str, Any], depth: int = 0) -> bytes:
    """The inverse of `table_to_json`."""
    return write_table([(n.encode(), value_from_json(v, depth + 1)) for n, v in table.items()])


def value_from_json(value: Any, depth: int = 0) -> bytes:
    """A JSON value as that of a header; raises `Unreadable` with a sentence about it."""
    if depth > 2 * _DEEPEST:
        raise Unreadable("is nested too deep")
    if isinstance(value, list):
        return _long(b"A", b"".join(value_from_json(each, depth + 1) for each in value))
    if isinstance(value, dict):
        name = next(iter(value), "")
        if len(value) == 1 and name.startswith("!"):
            return _typed(name[1:], value[name])
        return _long(b"F", table_from_json(value, depth))
    return _scalar_from_json(value)


def _scalar_from_json(value: Any) -> bytes:
    match value:
        case None:
            return b"V"
        case bool():
            return b"t\1" if value else b"t\0"
        case int():
            return b"l" + pack(">q", value)
        case float():
            return b"d" + pack(">d", value)
        case str():
            return _long(b"S", value.encode())
        case _:
            raise Unreadable(f"{type(value).__name__} is not a type of a header")


def _typed(name: str, value: Any) -> bytes:
    if name in _NUMBERS:
        tag, form = _NUMBERS[name]
        return tag + pack(form, value)
    match name, value:
        case "decimal", [int(scale), int(unscaled)]:
            return b"D" + pack(">BI", scale, unscaled)
        case (("bytes" | "string"), str()):
            return _long(b"x" if name == "bytes" else b"S", _unbase64(value))
        case _:
            raise Unreadable(f"'!{name[:20]}' with such a value is not a type of a header")


# ----------------------------------------------------------------------------------------- details


def _long(tag: bytes, data: bytes) -> bytes:
    return tag + struct.pack(">I", len(data)) + data


def pack(form: str, *values: Any) -> bytes:
    try:
        return struct.pack(form, *values)
    except (struct.error, OverflowError) as error:
        raise Unreadable(f"does not fit the protocol: {error}") from None


def unpack(form: str, raw: bytes) -> tuple[Any, ...]:
    try:
        return struct.unpack(form, raw)
    except struct.error:
        raise Unreadable("ends in the middle") from None


def _finite(number: Any) -> Any:
    if isinstance(number, float) and not math.isfinite(number):
        raise Unreadable("is not a finite number")
    return number


def text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unreadable("is not UTF-8") from None


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Unreadable("is not base64") from None
