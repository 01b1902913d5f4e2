"""`dueq bench` in small: no figure is judged here, only that all is recorded and none is early."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.bench
CHECKOUT = Path(__file__).parents[2]
JOBS = 120


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `dueq bench -o json` prints; it ends with another code if a job was lost or early."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DUEQ_")}
    ran = subprocess.run(
        (sys.executable, "-m", "infra.cli", "bench", "-o", "json", f"--jobs={JOBS}", "--runs=1"),
        cwd=tmp_path_factory.mktemp("bench"),
        env=kept | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_every_job_of_a_bench_is_recorded_and_the_answer_has_its_fixed_shape(
    told: dict[str, Any],
) -> None:
    for way in ("single", "batch", "amqp"):
        assert told[way]["jobs_per_s"] > 0
        assert told[way]["cpu_s_per_1000"] > 0
        assert told[way]["cpu"].keys() <= {
            "gateway", "ingest", "watcher", "worker", "up", "mongod", "rabbitmq", "redis", "epmd",
        }  # fmt: skip
    assert told["latency_ms"].keys() == {"p50", "p99", "max"}
    assert told["punctuality_ms"].keys() == {"p50", "p99", "max", "early"}
    assert told["versions"].keys() == {"dueq", "python", "rabbitmq", "mongodb", "redis"}
    assert "unknown" not in [told["versions"][name] for name in ("rabbitmq", "mongodb", "redis")]
    assert told["machine"]["cores"] >= 1


def test_no_job_starts_before_it_is_sent_or_due(told: dict[str, Any]) -> None:
    assert told["latency_ms"]["p50"] > 0
    assert told["punctuality_ms"]["early"] == 0
