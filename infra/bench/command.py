"""`dueq bench` as a person sees it: what runs, then the figures.

Exit code 0 only if every job was recorded and none began before it was due; whether the figures are
good enough depends on the machine and is left to the reader.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import TypeVar
from uuid import uuid4

from infra.bench.bench import Bench
from infra.bench.figures import Spread, Throughput, over_runs, throughput
from infra.bench.load import LOADS, Load
from infra.bench.machine import machine, versions
from infra.bench.measure import Measure
from infra.bench.profiler import profiled
from infra.bench.report import Report
from infra.bench.target import Setup, Target, given, started
from infra.cli.output import Format, say_json, tell
from infra.exits import CommandFailed, Exit

Result = TypeVar("Result")
_JOBS = {
    Measure.SINGLE: 15_000,
    Measure.BATCH: 40_000,
    Measure.AMQP: 15_000,
    Measure.LATENCY: 300,
}
_PUNCTUALITY_SECONDS = 10
_WARM_UP_JOBS = 1_000


@dataclass(frozen=True)
class Options:
    """What was asked for. `jobs` None: what each measure needs; `url` None: a system of our own."""

    only: tuple[Measure, ...] = ()
    jobs: int | None = None
    rate: float = 200.0
    runs: int = 3
    url: str | None = None
    profile: str | None = None
    setup: Setup = field(default_factory=Setup)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """In their order."""
        return tuple(each for each in Measure if not self.only or each in self.only)

    def jobs_of(self, measure: Measure) -> int:
        """How many a run submits."""
        default = _JOBS.get(measure) or round(self.rate * _PUNCTUALITY_SECONDS)
        return self.jobs or default


def run(options: Options, form: Format) -> None:
    """Measure and print."""
    with _ended_by_signals(), _target(options) as target:
        report = _Session(target, options).report()
    if form is Format.TABLE:
        report.show()
    else:
        say_json(report.as_json)
    if report.punctuality is not None and report.punctuality.early:
        raise CommandFailed(Exit.FAILED, f"{report.punctuality.early} jobs began before due")


def _target(options: Options) -> AbstractContextManager[Target]:
    if options.url is not None:
        return nullcontext(given(options.url))
    return started(options.setup)


class _Session:
    """All that was asked for, on one target."""

    def __init__(self, target: Target, options: Options) -> None:
        self._target = target
        self._options = options
        self._bench = Bench(target, uuid4().hex[:8])

    def report(self) -> Report:
        """Measure in order; the warm-up counts for nothing, but its jobs are checked too."""
        tell("Warming up")
        for load in LOADS.values():
            self._bench.throughput(load, min(_WARM_UP_JOBS, self._options.jobs or _WARM_UP_JOBS))
        return Report(
            throughputs={
                measure: self._throughput(measure, load)
                for measure, load in LOADS.items()
                if measure in self._options.measures
            },
            latency=self._latency(),
            punctuality=self._punctuality(),
            versions=asyncio.run(versions(self._target)),
            machine=machine(),
            setup=_setup(self._options),
        )

    def _throughput(self, measure: Measure, load: type[Load]) -> Throughput:
        jobs = self._options.jobs_of(measure)
        return throughput(self._repeat(measure, lambda: self._bench.throughput(load, jobs)))

    def _latency(self) -> Spread | None:
        measure = Measure.LATENCY
        if measure not in self._options.measures:
            return None
        jobs = self._options.jobs_of(measure)
        return over_runs(self._repeat(measure, lambda: self._bench.latency(jobs)))

    def _punctuality(self) -> Spread | None:
        measure = Measure.PUNCTUALITY
        if measure not in self._options.measures:
            return None
        jobs, rate = self._options.jobs_of(measure), self._options.rate
        return over_runs(self._repeat(measure, lambda: self._bench.punctuality(jobs, rate)))

    def _repeat(self, measure: Measure, once: Callable[[], Result]) -> list[Result]:
        results: list[Result] = []
        jobs, runs = self._options.jobs_of(measure), self._options.runs
        with profiled(self._target, self._options.profile, measure):
            for number in range(1, runs + 1):
                results.append(once())
                tell(f"{measure}: {jobs:,} jobs, run {number} of {runs}: {results[-1]}")
        return results


def _setup(options: Options) -> dict[str, object]:
    if options.url is not None:
        return {"url": options.url, "runs": options.runs}
    return {**asdict(options.setup), "runs": options.runs}


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """TERM ends the bench as Ctrl-C does: what it started is stopped."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.FAILED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
