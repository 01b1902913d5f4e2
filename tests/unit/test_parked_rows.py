"""A parked message in a table and in JSON."""

from datetime import UTC, datetime, timedelta

import pytest

from infra.cli.output import Format
from infra.cli.parked_rows import alone, body_of, in_list
from pipeline.broker.parked_queue import Parked

pytestmark = pytest.mark.unit


def parked(body: bytes, ago: timedelta = timedelta(0)) -> Parked:
    at = (datetime.now(UTC) - ago).isoformat()
    return Parked("id", {"code": "invalid", "parked-at": at}, body, b"\0\0", 1)


@pytest.mark.parametrize(
    ("ago", "said"),
    [(timedelta(seconds=7), "7 s"), (timedelta(minutes=5, seconds=9), "5 min"),
     (timedelta(hours=3), "3 h"), (timedelta(days=40), "40 d")],
)  # fmt: skip
def test_a_table_says_the_age_with_its_unit_and_json_in_seconds(ago: timedelta, said: str) -> None:
    message = parked(b"{}", ago)
    for row in (in_list(message, Format.TABLE), alone(message, Format.TABLE)):
        assert row["age"] == said
    assert abs(in_list(message, Format.JSON)["age"] - ago.total_seconds()) <= 1


def test_a_body_that_is_not_text_is_not_printed() -> None:
    message = parked(b"\xff\x00\x1b[2J\xfe")
    assert in_list(message, Format.TABLE)["body"] == "7 bytes that are not text"
    assert body_of(alone(message, Format.TABLE)) == "7 bytes that are not text"
    assert in_list(message, Format.JSON)["body"] is None
    assert alone(message, Format.JSON)["body_base64"] == "/wAbWzJK/g=="


def test_text_is_printed_without_what_a_terminal_obeys() -> None:
    message = parked("\x1b[2J\x00\u202eé\n\t2".encode())
    assert body_of(alone(message, Format.TABLE)) == "\ufffd[2J\ufffd\ufffdé\n\t2"
    assert "\x1b" not in in_list(message, Format.TABLE)["body"]
    assert alone(message, Format.JSON)["body"] == "\x1b[2J\x00\u202eé\n\t2"


def test_the_start_of_a_long_text_is_cut_between_characters() -> None:
    message = parked(b"a" + "\u20ac".encode() * 200)
    assert in_list(message, Format.JSON)["body"] == "a" + "\u20ac" * 99
