"""From what was measured to the figures that are told: rates, medians of runs, percentiles."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Run:
    """One run of a throughput measurement. `cpu` is per 1,000 jobs; empty where it is unknown."""

    jobs: int
    seconds: float
    cpu: Mapping[str, float]
    generator: float
    """What the load generator itself spent per 1,000 jobs."""

    @property
    def rate(self) -> float:
        """Jobs per second."""
        return self.jobs / self.seconds

    def __str__(self) -> str:
        cost = f", {sum(self.cpu.values()):.3f} CPU s per 1,000" if self.cpu else ""
        return f"{self.rate:,.0f} jobs/s{cost}"


@dataclass(frozen=True)
class Throughput:
    """Medians of some runs, each figure for itself: processes need not add up to the sum."""

    jobs_per_s: float
    cpu_s_per_1000: float | None
    cpu: Mapping[str, float]
    generator: float
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """Of some durations, in ms."""

    p50: float
    p99: float
    max: float
    early: int
    """How many were below zero."""

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, max {self.max:.1f} ms"


def throughput(runs: Sequence[Run]) -> Throughput:
    """The medians."""
    names = {name: None for run in runs for name in run.cpu}
    cpu = {name: median(run.cpu.get(name, 0.0) for run in runs) for name in names}
    return Throughput(
        jobs_per_s=median(run.rate for run in runs),
        cpu_s_per_1000=median(sum(run.cpu.values()) for run in runs) if names else None,
        cpu=cpu,
        generator=median(run.generator for run in runs),
        rates=tuple(run.rate for run in runs),
    )


def spread(milliseconds: Sequence[float]) -> Spread:
    """Of one run."""
    ordered = sorted(milliseconds)
    return Spread(
        p50=percentile(ordered, 50),
        p99=percentile(ordered, 99),
        max=ordered[-1],
        early=sum(each < 0 for each in ordered),
    )


def over_runs(spreads: Sequence[Spread]) -> Spread:
    """Medians of the percentiles; the worst maximum; all that were early."""
    return Spread(
        p50=median(each.p50 for each in spreads),
        p99=median(each.p99 for each in spreads),
        max=max(each.max for each in spreads),
        early=sum(each.early for each in spreads),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
