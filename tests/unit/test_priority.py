"""The order of the ready queue as a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.instants import to_ms
from pipeline.domain.job import LAST_INSTANT
from pipeline.domain.priority import HIGHEST, LOWEST, read_score, ready_score

pytestmark = pytest.mark.unit

LAST_MS = to_ms(LAST_INSTANT)
waiting = st.tuples(st.integers(LOWEST, HIGHEST), st.integers(0, LAST_MS))


@given(waiting)
def test_a_score_survives_redis_doubles_and_reads_back(job: tuple[int, int]) -> None:
    score = float(ready_score(*job))
    assert int(score) == ready_score(*job) < 2**53
    assert read_score(score) == job


@given(waiting, waiting)
def test_higher_priority_runs_first_then_who_is_due_first(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    runs_first = (-one[0], one[1]) < (-other[0], other[1])
    assert (ready_score(*one) < ready_score(*other)) == runs_first


def test_a_person_can_read_the_score() -> None:
    assert ready_score(5, 1_764_000_000_000) == 41_764_000_000_000
    assert ready_score(9, 1_764_000_000_000) == 1_764_000_000_000
    assert ready_score(0, 0) == 90_000_000_000_000
