"""Spans of time in words."""

import pytest

from pipeline.domain.spans import each, in_words

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"), (90, "90 seconds"), (1.5, "1.5 seconds"), (1.001, "1.001 seconds"),
        (60, "1 minute"), (5_400, "90 minutes"), (3_600, "1 hour"), (86_400, "1 day"),
        (604_800, "7 days"), (1_234_567, "1234567 seconds"), (100_001.5, "100001.5 seconds"),
        (0.25, "0.25 seconds"),
    ],
)  # fmt: skip
def test_a_span_is_told_exactly_in_the_largest_unit_that_fits(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_every_single_one_is_told_without_its_number() -> None:
    assert [each(seconds) for seconds in (1, 3_600, 7_200)] == ["second", "hour", "2 hours"]
