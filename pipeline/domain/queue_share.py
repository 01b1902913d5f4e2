"""A queue that a worker serves, and its weight among them: `mail`, `mail:3`."""

import re
from collections.abc import Iterable, Mapping

from pipeline.domain.job import NAME

MAX_WEIGHT = 1000
SHARE = NAME.removesuffix("$") + r"(:0*(1000|[1-9][0-9]{0,2}))?$"
"""As such a text looks; `read_share` says what is wrong with another."""
_NAME = re.compile(NAME)
_WEIGHTS = "weights"


def read_share(text: str) -> tuple[str, int]:
    """Name and weight (1 unless given); raises `ValueError`."""
    name, colon, weight = text.partition(":")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} is no queue: a name matches {NAME}")
    if not colon:
        return name, 1
    if not (weight.isascii() and weight.isdigit() and 1 <= int(weight[:9]) <= MAX_WEIGHT):
        raise ValueError(f"{text!r}: a weight is from 1 to {MAX_WEIGHT}, as in `mail:3`")
    return name, int(weight)


def weights_of(shares: Iterable[str]) -> dict[str, int]:
    """Each queue once, in order; raises `ValueError`."""
    weights: dict[str, int] = {}
    for text in shares:
        name, weight = read_share(text)
        if weights.setdefault(name, weight) != weight:
            raise ValueError(f"queue {name!r} is named with two weights")
    return weights


def told_weights(weights: Mapping[str, int]) -> dict[str, str]:
    """What an announcement says of them: nothing while all are alike."""
    if len(set(weights.values())) < 2:
        return {}
    return {_WEIGHTS: ",".join(f"{name}:{weight}" for name, weight in weights.items())}


def read_weights(told: Mapping[str, str]) -> dict[str, int]:
    """The inverse: nothing of queues that are all alike."""
    return dict(read_share(each) for each in told.get(_WEIGHTS, "").split(",") if each)
