"""Who a job is."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import SystemChance
from pipeline.domain.identity import born_at, fingerprint, id_of_element, id_of_fire, id_of_key

pytestmark = pytest.mark.unit

keys = st.text(min_size=1, max_size=255)


@given(keys, keys)
def test_the_same_key_is_the_same_job_and_another_key_another(one: str, other: str) -> None:
    assert (id_of_key(one) == id_of_key(other)) == (one == other)
    assert UUID(id_of_key(one)).version == 5


def test_ids_of_keys_never_change_between_releases() -> None:
    """A client that retries after an upgrade must meet the job that it submitted before it."""
    assert id_of_key("order-1") == "45266c9c-23d0-550a-9734-3011b3a80de1"
    assert id_of_element("order-1", 0) == id_of_key("order-1/0")


@given(keys, st.integers(0, 9999), st.integers(0, 9999))
def test_h7_every_element_of_an_array_has_an_id_of_its_own(key: str, i: int, j: int) -> None:
    """H7: under one `message_id` they would all be one job."""
    assert (id_of_element(key, i) == id_of_element(key, j)) == (i == j)
    assert id_of_element(key, i) != id_of_key(key)


def test_one_fire_time_is_one_job_in_whatever_zone_it_is_told() -> None:
    utc = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    berlin = utc.astimezone(timezone(timedelta(hours=2)))
    assert id_of_fire("s", utc) == id_of_fire("s", berlin)
    assert id_of_fire("s", utc) != id_of_fire("s", utc + timedelta(hours=1))
    assert id_of_fire("s", utc) != id_of_fire("t", utc)


def test_a_key_cannot_be_made_to_name_a_fire() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert id_of_fire("s", at) != id_of_key(f"fire/s/{at.isoformat()}")


def test_a_uuid7_tells_when_it_was_born_and_no_other_id_does() -> None:
    born = born_at("018bcfe5-6800-7000-8000-000000000000")
    assert born == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    for other in (id_of_key("k"), "no id", "", "018e3c5a", "\0"):
        assert born_at(other) is None


def test_the_largest_uuid7_is_answered_and_does_not_break_the_reader() -> None:
    assert born_at("ffffffff-ffff-7fff-bfff-ffffffffffff") is None


def test_fresh_ids_sort_by_age() -> None:
    chance = SystemChance()
    ids = [chance.job_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    stamps = [born_at(job_id) for job_id in ids]
    assert None not in stamps
    assert stamps == sorted(stamp for stamp in stamps if stamp)


def test_the_order_of_fields_and_the_key_itself_do_not_change_what_is_asked() -> None:
    body = {"payload": {"a": 1, "b": [1, 2]}, "name": "n"}
    same = {"name": "n", "payload": {"b": [1, 2], "a": 1}, "idempotency_key": "k"}
    assert fingerprint(body) == fingerprint(same)


@pytest.mark.parametrize(
    "other", [{"payload": {"a": 2}}, {"payload": {"a": [1]}}, {"payload": "1"}, {}, {"name": "a"}]
)
def test_another_body_has_another_fingerprint(other: dict[str, object]) -> None:
    assert fingerprint({"payload": {"a": 1}}) != fingerprint(other)


def test_a_key_inside_the_payload_is_part_of_what_is_asked() -> None:
    one, other = ({"payload": {"idempotency_key": key}} for key in "ab")
    assert fingerprint(one) != fingerprint(other)
