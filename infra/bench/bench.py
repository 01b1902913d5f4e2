"""The five measurements, each run once: load, wait, stop the clock, check every job."""

import json
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

from infra.bench.cost import spent
from infra.bench.figures import Run, Spread, spread
from infra.bench.load import BATCH, Load
from infra.bench.records import Records
from infra.bench.target import Target
from infra.bench.wire import connected, post
from infra.cli.client import Gateway

_GAP_SECONDS = (0.020, 0.030)
_LEAD_SECONDS = 3.0
_NS_PER_MS = 1_000_000


class Bench:
    """Measures one target. `label` tells its jobs from those of any other bench."""

    def __init__(self, target: Target, label: str) -> None:
        self._target = target
        self._records = Records(Gateway(target.http))
        self._names = (f"bench-{label}-{number}" for number in count())
        self._random = random.Random(label)

    def throughput(self, load: type[Load], jobs: int) -> Run:
        """From the first request sent until every job is recorded."""
        name = next(self._names)
        prepared = load(self._target, name, jobs)
        before = self._records.counts()
        cpu, own, began = self._cpu(), time.process_time(), time.monotonic()
        accepted = prepared.send()
        self._records.wait_for(before, jobs)
        seconds, own, after = time.monotonic() - began, time.process_time() - own, self._cpu()
        self._records.check(name, accepted)
        return Run(jobs, seconds, spent(cpu, after, jobs), own * 1000 / jobs)

    def latency(self, jobs: int) -> Spread:
        """One job at a time on an idle system: POST sent → its code starts."""
        name = next(self._names)
        request = post("/api/jobs", json.dumps({"name": name, "task": "bench.stamp"}).encode())
        before = self._records.counts()
        sent_at: dict[str, int] = {}
        with connected(self._target.http, 1) as wire:
            for _ in range(jobs):
                time.sleep(self._random.uniform(*_GAP_SECONDS))
                sent = time.time_ns()
                sent_at[json.loads(wire.ask(request))["id"]] = sent
        self._records.wait_for(before, jobs)
        found = self._records.results(name, sent_at)
        return spread([(found[id_]["result"] - sent_at[id_]) / _NS_PER_MS for id_ in found])

    def punctuality(self, jobs: int, rate: float) -> Spread:
        """Due times uniform over `jobs / rate` seconds, submitted from 3 s before in any order."""
        name = next(self._names)
        first = time.time() + _LEAD_SECONDS
        due = [first + self._random.random() * jobs / rate for _ in range(jobs)]
        requests = [
            post("/api/jobs/batch", json.dumps([_delayed(name, at) for at in part]).encode())
            for part in (due[start : start + BATCH] for start in range(0, jobs, BATCH))
        ]
        before = self._records.counts()
        with connected(self._target.http, 1) as wire:
            answers = wire.drive(requests)
        ids = {id_: None for answer in answers for id_ in json.loads(answer)["ids"]}
        time.sleep(max(0.0, max(due) - time.time()))
        self._records.wait_for(before, jobs)
        return spread([_late_by(job) for job in self._records.results(name, ids).values()])

    def _cpu(self) -> Mapping[str, float]:
        return self._target.tree.read() if self._target.tree else {}


def _delayed(name: str, at: float) -> dict[str, Any]:
    run_at = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return {"name": name, "task": "bench.stamp", "run_at": run_at}


def _late_by(job: Mapping[str, Any]) -> float:
    """Milliseconds from due, as the system itself says it, to the start of the code."""
    due_ms = round(datetime.fromisoformat(job["due_at"]).timestamp() * 1000)
    late: float = (job["result"] - due_ms * _NS_PER_MS) / _NS_PER_MS
    return late
