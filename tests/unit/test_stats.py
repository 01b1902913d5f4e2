"""`/stats` has one shape, whichever process is asked."""

import pytest

from pipeline.stats import Stats
from pipeline.telemetry import ENDED, EXPIRED, RUNNING
from tests.fakes.clock import ManualClock
from tests.gateway_world import GatewayWorld

pytestmark = pytest.mark.unit


def test_counters_stand_by_name_and_then_by_labels() -> None:
    ENDED.labels("stats", "failed").inc(2)
    EXPIRED.inc(0)
    RUNNING.set_function(lambda: 3)
    counters = Stats("worker", ManualClock()).told(ready=True)["counters"]
    assert counters["attempts_ended"]["stats/failed"] == 2
    assert counters["jobs_running"] == 3
    assert isinstance(counters["jobs_expired"], float)
    assert not [name for name in counters if name.endswith(("_created", "_total"))]


def test_a_process_tells_since_when_it_runs() -> None:
    clock = ManualClock()
    stats = Stats("watcher", clock)
    clock.advance(90)
    told = stats.told(ready=False)
    assert (told["role"], told["uptime"], told["ready"]) == ("watcher", 90, False)
    assert told["started_at"] == "2026-01-01T12:00:00.000Z"


async def test_the_gateway_says_the_same_of_itself() -> None:
    told = Stats("gateway", ManualClock()).told(ready=True)
    answer = (await GatewayWorld().get("/stats")).json
    assert set(answer) == set(told)
    assert set(answer["counters"]) == set(told["counters"])
