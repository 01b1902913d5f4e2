"""When to try again."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.retry import RetryPolicy

pytestmark = pytest.mark.unit

backoffs = st.sampled_from(["exponential", "quadratic", "linear", "fixed"]) | st.lists(
    st.floats(0, 366 * 86_400), min_size=1, max_size=100
)
policies = st.builds(
    lambda **fields: RetryPolicy.model_validate(fields),
    backoff=backoffs,
    base=st.floats(0, 366 * 86_400),
    factor=st.floats(1, 100),
    max_delay=st.floats(0, 366 * 86_400),
)
failures = st.integers(1, 1000)
lots = st.floats(0, 1, exclude_max=True)


def delays(count: int, **fields: Any) -> list[float]:
    """The delays after the first `count` failures, in seconds, without jitter."""
    policy = RetryPolicy.model_validate({"jitter": "none", "max_delay": 1e7, **fields})
    return [policy.delay_after(n, 0.5).total_seconds() for n in range(1, count + 1)]


def test_exponential_doubles_from_ten_seconds() -> None:
    assert delays(5) == [10, 20, 40, 80, 160]
    assert delays(3, base=2, factor=3) == [2, 6, 18]


def test_quadratic_is_the_square_of_the_failures_times_ten_seconds() -> None:
    assert delays(5, backoff="quadratic") == [10, 40, 90, 160, 250]
    assert delays(3, backoff="quadratic", base=1) == [1, 4, 9]


def test_linear_grows_by_the_base() -> None:
    assert delays(4, backoff="linear") == [10, 20, 30, 40]


def test_fixed_does_not_grow() -> None:
    assert delays(3, backoff="fixed", base=7) == [7, 7, 7]


def test_a_list_is_followed_and_its_last_delay_repeats() -> None:
    assert delays(5, backoff=[1, 5, 2.5]) == [1, 5, 2.5, 2.5, 2.5]


def test_everything_is_capped_at_an_hour_unless_asked_otherwise() -> None:
    for backoff in ("exponential", "quadratic", "linear", [86_400]):
        policy = RetryPolicy.model_validate({"backoff": backoff, "jitter": "none"})
        assert policy.delay_after(1000, 0).total_seconds() == 3600


def test_the_cap_comes_before_the_jitter() -> None:
    """After it, most of what failed often would return at the same moment: at the cap."""
    policy = RetryPolicy(max_delay=100)
    assert policy.delay_after(50, 0.25) == timedelta(seconds=25)
    equal = RetryPolicy.model_validate({"max_delay": 100, "jitter": "equal"})
    assert equal.delay_after(50, 0.5) == timedelta(seconds=75)


@given(policies, failures, lots)
def test_full_jitter_draws_from_nothing_up_to_the_whole_delay(
    policy: RetryPolicy, n: int, lot: float
) -> None:
    whole = policy.model_copy(update={"jitter": "none"}).delay_after(n, lot)
    assert timedelta(0) <= policy.delay_after(n, lot) <= whole
    assert policy.delay_after(n, 0.0) == timedelta(0)


@given(policies, failures, lots)
def test_equal_jitter_draws_from_the_upper_half(policy: RetryPolicy, n: int, lot: float) -> None:
    whole = policy.model_copy(update={"jitter": "none"}).delay_after(n, lot)
    drawn = policy.model_copy(update={"jitter": "equal"}).delay_after(n, lot)
    assert whole / 2 - timedelta(microseconds=1) <= drawn <= whole


@given(policies, failures, lots)
def test_no_policy_overflows_or_goes_beyond_its_cap(
    policy: RetryPolicy, n: int, lot: float
) -> None:
    for jitter in ("full", "equal", "none"):
        delay = policy.model_copy(update={"jitter": jitter}).delay_after(n, lot)
        assert timedelta(0) <= delay <= timedelta(seconds=policy.max_delay)


@given(policies.filter(lambda policy: not isinstance(policy.backoff, list)), st.integers(1, 999))
def test_no_growing_backoff_ever_shrinks(policy: RetryPolicy, n: int) -> None:
    steady = policy.model_copy(update={"jitter": "none"})
    assert steady.delay_after(n, 0) <= steady.delay_after(n + 1, 0)


def test_nothing_doubled_is_nothing_however_often() -> None:
    """`100 ** 999` overflows before it is multiplied by zero."""
    assert set(delays(1000, base=0, factor=100)) == {0}


@pytest.mark.parametrize(("tried", "allowed"), [(0, True), (1, True), (2, True), (3, False)])
def test_max_attempts_counts_failures_and_the_success(tried: int, allowed: bool) -> None:
    assert RetryPolicy(max_attempts=3).allows_another(tried) is allowed


def test_one_attempt_means_no_retry() -> None:
    assert not RetryPolicy(max_attempts=1).allows_another(1)
