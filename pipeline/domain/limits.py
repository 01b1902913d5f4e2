"""Limits: how many jobs run at a time, and how many start in a period.

A rate is a token bucket: it holds `burst` tokens, `count` come back in every `per` seconds, evenly,
and each lease takes one. A queue may have a limit, and so may a key that jobs of a queue name: then
each job is judged by the numbers that it brings itself, and the first that waits for a key decides
when the next one of this key may run. Pure.
"""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, Strict, model_validator

LIMIT_KEY = r"^[A-Za-z0-9_.:@/+-]{1,128}$"
_SHORTEST_MS = 0.1

Concurrency = Annotated[int, Strict(), Field(ge=1, le=1_000_000)]


class Rate(BaseModel):
    """`count` leases in every `per` seconds, up to `burst` (`count` unless given) at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: Annotated[int, Strict(), Field(ge=1, le=1_000_000)]
    per: Annotated[FiniteFloat, Strict(), Field(gt=0, le=31 * 86_400)] = 1.0
    burst: Annotated[int, Strict(), Field(ge=1, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _is_countable(self) -> Self:
        if self.interval_ms < _SHORTEST_MS:
            raise ValueError("must not be more than 10000 a second")
        return self

    @property
    def interval_ms(self) -> float:
        """From one token to the next."""
        return self.per * 1000 / self.count

    @property
    def capacity(self) -> int:
        """How many tokens the bucket holds."""
        return self.burst or self.count


class Limit(BaseModel):
    """What a queue may be limited to; nothing is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: Concurrency | None = None
    rate: Rate | None = None

    @property
    def text(self) -> str:
        """As the lease queue keeps it: concurrency, ms between two tokens, burst; 0 for none.

        Empty, if it limits nothing.
        """
        if self.is_none:
            return ""
        rate = "0 0" if self.rate is None else f"{self.rate.interval_ms!r} {self.rate.capacity}"
        return f"{self.concurrency or 0} {rate}"

    @property
    def is_none(self) -> bool:
        """Whether it limits nothing."""
        return self.concurrency is None and self.rate is None


class KeyLimit(Limit):
    """What the jobs of one key, in one queue, are limited to, as one of them says it."""

    key: Annotated[str, Field(pattern=LIMIT_KEY)]

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.is_none:
            raise ValueError("must have concurrency, rate or both")
        return self


NO_LIMIT = Limit()


def next_token(after: timedelta) -> str:
    """When a rate has room, in words."""
    return f"next token in {after.total_seconds():.1f} s"


def reached(running: int, most: int | None) -> str:
    """Why a key has no room, in words: so many run, or have its slots or tokens and run next."""
    if most is None:
        return "others before it"
    words = f"{running} of {most} running"
    return words if running >= most else f"others before it, {words}"
