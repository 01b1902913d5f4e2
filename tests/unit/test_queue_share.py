"""Queues and their weights, as they are written."""

import pytest

from pipeline.domain.queue_share import MAX_WEIGHT, read_share, told_weights, weights_of

pytestmark = pytest.mark.unit


def test_a_queue_has_weight_one_unless_another_is_written() -> None:
    assert weights_of(["a", "b:3"]) == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "a:0", "a:-1", "a:1.5", "a:x", "a b", "a:1:2", f"a:{MAX_WEIGHT + 1}",
             "a:10000000000", "a:²", "ä"],
)  # fmt: skip
def test_what_is_no_queue_or_no_weight_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"queue|weight"):
        read_share(text)


def test_a_queue_that_is_named_twice_has_one_weight() -> None:
    assert weights_of(["a:2", "a:2"]) == {"a": 2}
    with pytest.raises(ValueError, match="two weights"):
        weights_of(["a", "a:2"])


def test_weights_are_told_only_if_they_differ() -> None:
    assert told_weights({"a": 2, "b": 2}) == {}
    assert told_weights({"a": 1, "b": 2}) == {"weights": "a:1,b:2"}
