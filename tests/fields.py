"""Message properties of every kind that a broker takes, for hypothesis."""

import struct

from hypothesis import strategies as st

from pipeline.domain.fields import write_table
from pipeline.domain.properties import PROPERTIES, write_properties


def _long(tag: bytes, data: bytes) -> bytes:
    return tag + struct.pack(">I", len(data)) + data


def _fixed(tag: bytes, size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size).map(lambda data: tag + data)


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
"""RabbitMQ itself ends a connection that sends another number (541)."""
_ANY = st.binary(max_size=12) | st.sampled_from([b"", b"a", "grüße".encode(), b"!int8", b"a.b"])
NAMES = _ANY.filter(lambda name: name not in (b"CC", b"BCC"))
"""RabbitMQ takes the two for routing keys, and refuses a message where they are none (406)."""
SCALARS = (
    st.one_of(*(_fixed(tag, size) for tag, size in
                [(b"b", 1), (b"B", 1), (b"s", 2), (b"u", 2), (b"I", 4), (b"i", 4), (b"l", 8),
                 (b"D", 5), (b"T", 8), (b"V", 0)]))
    | FINITE.map(lambda number: b"d" + struct.pack(">d", number))
    | FINITE.map(lambda number: b"f" + struct.pack(">f", number))
    | st.sampled_from([b"t\0", b"t\1"])
    | st.text(max_size=20).map(lambda text: _long(b"S", text.encode()))
    | st.binary(max_size=20).map(lambda data: _long(b"S", data))
    | st.binary(max_size=20).map(lambda data: _long(b"x", data))
)  # fmt: skip
VALUES: st.SearchStrategy[bytes] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda each: _long(b"A", b"".join(each)))
        | st.lists(st.tuples(NAMES, inner), max_size=4).map(
            lambda each: _long(b"F", write_table(each))
        )
    ),
    max_leaves=12,
)
TABLES = st.lists(st.tuples(NAMES, VALUES), max_size=6, unique_by=lambda entry: entry[0])
TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=20).map(str.encode)
_SHORT = {
    name: TEXTS | st.binary(max_size=20)
    for name in PROPERTIES
    if name not in ("headers", "delivery_mode", "priority", "timestamp", "user_id", "expiration")
}


@st.composite
def properties(draw: st.DrawFn) -> bytes:
    """Bytes of properties with any headers; only what the broker itself checks is tame."""
    values = {name: draw(value) for name, value in _SHORT.items() if draw(st.booleans())}
    if draw(st.booleans()):
        values["delivery_mode"] = draw(st.sampled_from([b"\1", b"\2"]))
        values["priority"] = draw(st.binary(min_size=1, max_size=1))
    if draw(st.booleans()):
        values["timestamp"] = draw(st.binary(min_size=8, max_size=8))
        values["expiration"] = b"600000"
    if draw(st.booleans()):
        values["headers"] = write_table(draw(TABLES))
    return write_properties(values)
