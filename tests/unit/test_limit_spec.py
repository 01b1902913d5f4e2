"""What may be asked for as a limit, and how the lease queue is told of it."""

from typing import Any

import pytest

from pipeline.domain.body import read_spec
from pipeline.domain.errors import Rejected
from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit, Rate
from pipeline.store.documents import to_entry
from tests.builders import a_job
from tests.fakes.clock import START


def test_a_job_names_its_key_and_what_that_is_limited_to() -> None:
    asked = {"key": "customer-7", "concurrency": 2, "rate": {"count": 10, "per": 60, "burst": 3}}
    limit = read_spec({"limits": asked}).limits
    assert limit == KeyLimit(
        key="customer-7", concurrency=2, rate=Rate(count=10, per=60.0, burst=3)
    )
    assert limit.text == "2 6000.0 3"


@pytest.mark.parametrize(
    ("limits", "pointer"),
    [
        ({"key": "a"}, "/limits"),
        ({"concurrency": 1}, "/limits/key"),
        ({"key": "a b", "concurrency": 1}, "/limits/key"),
        ({"key": "a" * 129, "concurrency": 1}, "/limits/key"),
        ({"key": "a", "concurrency": 0}, "/limits/concurrency"),
        ({"key": "a", "concurrency": True}, "/limits/concurrency"),
        ({"key": "a", "rate": {"count": 10_001}}, "/limits/rate"),
        ({"key": "a", "rate": {"count": 1, "per": 0}}, "/limits/rate/per"),
        ({"key": "a", "rate": {"count": 1, "burts": 2}}, "/limits/rate/burts"),
    ],
)
def test_a_limit_that_limits_nothing_or_cannot_be_kept_is_refused(
    limits: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(Rejected) as refused:
        read_spec({"limits": limits})
    assert [flaw.pointer for flaw in refused.value.flaws] == [pointer]


@pytest.mark.parametrize("most", [0, 101, 1.5])
def test_the_number_of_losses_a_job_may_have_is_a_small_whole_one(most: float) -> None:
    with pytest.raises(Rejected):
        read_spec({"max_lost": most})


def test_a_bucket_holds_a_period_unless_a_burst_is_named() -> None:
    assert (Rate(count=10).interval_ms, Rate(count=10).capacity) == (100.0, 10)
    assert Rate(count=10, burst=1).capacity == 1


def test_no_limit_is_no_text() -> None:
    assert (NO_LIMIT.is_none, NO_LIMIT.text) == (True, "")
    assert Limit(concurrency=3).text == "3 0 0"
    assert Limit(rate=Rate(count=2)).text == "0 500.0 2"


def test_the_entry_of_a_job_has_its_limit() -> None:
    job = a_job(body={"limits": {"key": "k", "concurrency": 2}})
    assert job.entry.limit == KeyLimit(key="k", concurrency=2)
    assert a_job().entry.limit is None


@pytest.mark.parametrize("limits", [None, {"key": "k", "by": "a later version"}])
def test_a_limit_that_this_version_cannot_read_is_none(limits: object) -> None:
    spec = {} if limits is None else {"limits": limits}
    document = {"_id": "a", "queue": "default", "due_at": START, "priority": 5, "spec": spec}
    assert to_entry(document).limit is None
