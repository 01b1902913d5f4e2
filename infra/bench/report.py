"""The figures, as JSON of a fixed shape and as a table with what they should be beside them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from infra.bench.figures import Spread, Throughput
from infra.bench.measure import Measure
from infra.cli.output import Format, emit_list, say

_COSTLY = (Measure.SINGLE, Measure.BATCH, Measure.AMQP)


@dataclass(frozen=True)
class Report:
    """What was measured; a measure that was not asked for is missing."""

    throughputs: Mapping[Measure, Throughput]
    latency: Spread | None
    punctuality: Spread | None
    versions: Mapping[str, str]
    machine: Mapping[str, object]
    setup: Mapping[str, object]

    @property
    def as_json(self) -> dict[str, object]:
        """The same keys whatever was asked for; null is "not measured"."""
        return {
            **{name: _throughput(self.throughputs.get(name)) for name in _COSTLY},
            "latency_ms": self.latency and _percentiles(self.latency),
            "punctuality_ms": self.punctuality
            and _percentiles(self.punctuality) | {"early": self.punctuality.early},
            "versions": dict(self.versions),
            "machine": dict(self.machine),
            "setup": dict(self.setup),
        }

    def show(self) -> None:
        """For people."""
        _table(self._figures(), ("figure", "measured", "should_be", "runs"))
        if any(each.cpu for each in self.throughputs.values()):
            say("")
            costs = tuple(name.value for name in self.throughputs)
            _table(self._costs(), ("cpu_s_per_1000", *costs))
        say("")
        for about in (self.machine, self.versions, self.setup):
            say("  ".join(f"{name} {value}" for name, value in about.items()))

    def _figures(self) -> Iterator[dict[str, object]]:
        for name, measured in self.throughputs.items():
            rates = "  ".join(f"{rate:,.0f}" for rate in measured.rates)
            target, most = _TARGETS.get(name, (None, None))
            yield _row(f"{name}: jobs/s", f"{measured.jobs_per_s:,.0f}",
                       f">= {target:,}" if target else "", rates)  # fmt: skip
            if measured.cpu_s_per_1000 is not None:
                yield _row(f"{name}: CPU s per 1,000 jobs", f"{measured.cpu_s_per_1000:.3f}",
                           f"<= {most}" if most else "")  # fmt: skip
        if self.latency:
            yield from _spread_rows("POST sent -> code starts", self.latency, (10, 30))
        if self.punctuality:
            yield from _spread_rows("code starts - due", self.punctuality, (4, 15))
            yield _row("started before due", str(self.punctuality.early), "0")

    def _costs(self) -> Iterator[dict[str, object]]:
        columns = {measure.value: each for measure, each in self.throughputs.items()}
        names = {name: None for each in columns.values() for name in each.cpu}
        for process in names:
            cells = {name: f"{each.cpu.get(process, 0.0):.4f}" for name, each in columns.items()}
            yield {"cpu_s_per_1000": process, **cells}
        own = {name: f"{each.generator:.4f}" for name, each in columns.items()}
        yield {"cpu_s_per_1000": "(load generator, not counted)", **own}


_TARGETS: Mapping[Measure, tuple[int, float | None]] = {
    Measure.SINGLE: (2_500, None),
    Measure.BATCH: (5_000, 0.35),
}


def _throughput(measured: Throughput | None) -> dict[str, object] | None:
    if measured is None:
        return None
    cost = measured.cpu_s_per_1000
    return {
        "jobs_per_s": round(measured.jobs_per_s, 1),
        "cpu_s_per_1000": None if cost is None else round(cost, 4),
        "cpu": {name: round(seconds, 4) for name, seconds in measured.cpu.items()},
        "generator_cpu_s_per_1000": round(measured.generator, 4),
        "runs": [round(rate, 1) for rate in measured.rates],
    }


def _percentiles(measured: Spread) -> dict[str, float | int]:
    return {name: round(getattr(measured, name), 2) for name in ("p50", "p99", "max")}


def _spread_rows(
    what: str, measured: Spread, should_be: tuple[int, int]
) -> Iterator[dict[str, object]]:
    p50, p99 = should_be
    yield _row(f"{what}: p50", f"{measured.p50:.1f} ms", f"<= {p50}")
    yield _row(f"{what}: p99", f"{measured.p99:.1f} ms", f"<= {p99}")
    yield _row(f"{what}: max", f"{measured.max:.1f} ms")


def _row(figure: str, measured: str, should_be: str = "", runs: str = "") -> dict[str, object]:
    return {"figure": figure, "measured": measured, "should_be": should_be, "runs": runs}


def _table(rows: Iterator[dict[str, object]], columns: tuple[str, ...]) -> None:
    emit_list({"items": list(rows)}, Format.TABLE, columns)
