"""When to try again: a pure function of the policy, the failures so far and one random number."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, Strict

Seconds = Annotated[FiniteFloat, Strict(), Field(ge=0, le=366 * 86_400)]


class Backoff(StrEnum):
    """How the delay grows with n, the failures so far."""

    EXPONENTIAL = "exponential"
    """base · factor^(n-1)"""
    QUADRATIC = "quadratic"
    """base · n²"""
    LINEAR = "linear"
    """base · n"""
    FIXED = "fixed"
    """base"""


class Jitter(StrEnum):
    """How much of the delay is drawn by lot, so that what failed together does not return together.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """

    FULL = "full"
    """anything between nothing and the whole delay"""
    EQUAL = "equal"
    """anything between half and the whole"""
    NONE = "none"


class RetryPolicy(BaseModel):
    """`max_attempts` counts failures plus the success; `max_delay` caps before the jitter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_attempts: Annotated[int, Strict(), Field(ge=1, le=1000)] = 5
    backoff: Backoff | Annotated[list[Seconds], Field(min_length=1, max_length=100)] = (
        Backoff.EXPONENTIAL
    )
    base: Seconds = 10.0
    factor: Annotated[FiniteFloat, Strict(), Field(ge=1, le=100)] = 2.0
    max_delay: Seconds = 3600.0
    jitter: Jitter = Jitter.FULL

    def allows_another(self, failures: int) -> bool:
        """Whether a job that has failed `failures` times may run again."""
        return failures < self.max_attempts

    def delay_after(self, failures: int, lot: float) -> timedelta:
        """How long to wait after the `failures`-th failure (1, 2, …); `lot` from [0, 1)."""
        whole = min(self._growth(failures), self.max_delay)
        match self.jitter:
            case Jitter.FULL:
                return timedelta(seconds=whole * lot)
            case Jitter.EQUAL:
                return timedelta(seconds=whole / 2 + whole / 2 * lot)
            case Jitter.NONE:
                return timedelta(seconds=whole)

    def _growth(self, failures: int) -> float:
        match self.backoff:
            case list():
                return self.backoff[min(failures, len(self.backoff)) - 1]
            case Backoff.EXPONENTIAL:
                return self._exponential(failures)
            case Backoff.QUADRATIC:
                return self.base * failures * failures
            case Backoff.LINEAR:
                return self.base * failures
            case Backoff.FIXED:
                return self.base

    def _exponential(self, failures: int) -> float:
        try:
            return self.base * self.factor ** (failures - 1)
        except OverflowError:
            return self.max_delay if self.base else 0.0
