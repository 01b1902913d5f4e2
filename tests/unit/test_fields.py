"""Properties and headers, byte for byte and as JSON."""

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.fields import (
    Unreadable,
    read_table,
    table_to_json,
    value_from_json,
    value_to_json,
    write_table,
)
from pipeline.domain.properties import (
    check_properties,
    properties_from_json,
    properties_to_json,
    read_properties,
    write_properties,
)
from tests.fields import properties

pytestmark = pytest.mark.unit

EVERY_TYPE: dict[str, Any] = {
    "text": "grüße", "empty": "", "true": True, "false": False, "void": None,
    "int64": -(2**63), "double": 0.1, "array": [1, "a", None, [True]],
    "table": {"a": {"b": 1.5}}, "int8": {"!int8": -128}, "uint8": {"!uint8": 255},
    "int16": {"!int16": -32768}, "uint16": {"!uint16": 65535}, "int32": {"!int32": -(2**31)},
    "uint32": {"!uint32": 2**32 - 1}, "float32": {"!float32": 0.5},
    "timestamp": {"!timestamp": 1_790_000_000}, "decimal": {"!decimal": [2, 314]},
    "bytes": {"!bytes": "AP8="}, "string": {"!string": "/w=="},
}  # fmt: skip


@given(properties())
def test_what_is_read_is_written_as_it_was(raw: bytes) -> None:
    values = read_properties(raw)
    table = write_table(read_table(values.get("headers", b"")))
    assert table == values.get("headers", b"")
    assert write_properties(values) == raw
    check_properties(raw)


@given(properties())
def test_json_of_any_properties_is_valid_or_refused(raw: bytes) -> None:
    """Whether it is exact, whoever needs that writes it back and compares; it never breaks."""
    values = read_properties(raw)
    try:
        said = properties_to_json(values), table_to_json(values.get("headers", b""))
        again = properties_from_json(*said)
    except Unreadable:
        return
    check_properties(again)
    assert set(read_properties(again)) | {"headers"} == set(values) | {"headers"}


@given(st.binary(max_size=60))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    try:
        check_properties(raw)
    except Unreadable:
        return
    assert write_properties(read_properties(raw)) == raw


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_every_type_has_a_form_in_json(name: str) -> None:
    tagged = value_from_json(EVERY_TYPE[name])
    assert value_to_json(tagged) == EVERY_TYPE[name]


def test_every_type_tag_of_the_protocol_is_covered() -> None:
    tags = {value_from_json(value)[:1] for value in EVERY_TYPE.values()}
    assert tags == {bytes([tag]) for tag in b"StVldAFbBsuIifTDx"}


def test_an_integer_of_json_has_64_bits_whatever_its_size() -> None:
    assert value_from_json(1) == b"l" + struct.pack(">q", 1)


@pytest.mark.parametrize(
    "value",
    [2**63, {"!int8": 128}, {"!int8": "1"}, {"!uint32": -1}, {"!what": 1}, {"!decimal": [1]},
     {"!bytes": "?"}, {"!bytes": 5}, {"!timestamp": 1.5}, {"k" * 256: 1}],
)  # fmt: skip
def test_what_is_no_header_is_refused_with_a_sentence(value: Any) -> None:
    with pytest.raises(Unreadable):
        value_from_json(value)


@pytest.mark.parametrize("value", [b"d" + struct.pack(">d", float("nan")), b"f\x7f\x80\0\0"])
def test_what_json_does_not_hold_is_unreadable_and_not_wrong(value: bytes) -> None:
    with pytest.raises(Unreadable):
        value_to_json(value)


@pytest.mark.parametrize(
    "raw", [b"", b"\x80", b"\x80\0", b"\x80\0\x05ab", b"\0\1", b"\0\0x", b"\x20\0\0\0\0\x05\x01aZ"]
)
def test_broken_properties_are_refused(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        check_properties(raw)


def test_a_number_that_ends_the_brokers_connection_is_refused_however_deep() -> None:
    nan = b"A\0\0\0\x09d" + struct.pack(">d", float("nan"))
    with pytest.raises(Unreadable, match="finite"):
        check_properties(write_properties({"headers": write_table([(b"a", nan)])}))


def test_a_table_within_ten_thousand_tables_costs_no_stack() -> None:
    """The driver's own reader ends its connection here, and each time the message comes back."""
    table = b""
    for _ in range(10_000):
        table = write_table([(b"", b"F" + struct.pack(">I", len(table)) + table)])
    raw = write_properties({"headers": table})
    assert write_table(read_table(read_properties(raw)["headers"])) == table
    with pytest.raises(Unreadable, match="too deep"):
        table_to_json(table)
    with pytest.raises(Unreadable, match="too deep"):
        check_properties(raw)


def test_bytes_that_stand_for_themselves_in_json() -> None:
    assert value_from_json({"!bytes": base64.b64encode(b"\0").decode()}) == b"x\0\0\0\1\0"
