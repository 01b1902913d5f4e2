"""Workers are killed while their jobs hold the slots of limit keys: never do more run at once than
a key allows, and no slot is lost with its worker.

Judged by the witness alone: a run lasts from its first line to its last, or to the death of its
process. Redis is not wiped here: limits may be exceeded until it is rebuilt (docs).
"""

import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import pytest_asyncio

from infra.local.servers import Urls
from pipeline.domain.identity import id_of_element
from tests.chaos.checker import violations
from tests.chaos.client import HttpClient, Ledger, Wish
from tests.chaos.history import History
from tests.chaos.inspection import Inside, Reader, introduce, until_drained
from tests.chaos.sink import Seen, Sighting
from tests.chaos.system import Member, Part, System
from tests.support import eventually

QUEUE = "default"
KEYS = ("a", "b", "c", "d")
MOST = 2
JOBS, SECONDS = 64, 0.25
KILLS = 3
LEASE_SECONDS = 5.0
"""Longer than a machine stalls: who does not come to his heartbeat runs on beside his successor."""
ROLES = ("gateway", "ingest", "watcher", *["worker"] * 3)
PARTS = tuple(Part(role, lease_seconds=LEASE_SECONDS) for role in ROLES)
SETTLE_SECONDS = 60.0


@pytest_asyncio.fixture
async def system(
    amqp_url: str, mongo_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[System]:
    """Three workers with more slots than the keys allow."""
    async with System(Urls(amqp_url, mongo_url, redis_url), tmp_path / "system") as system:
        await system.start(*PARTS)
        yield system


async def test_no_more_than_a_key_allows_run_at_once_when_workers_are_killed(
    system: System,
) -> None:
    ledger, inside = Ledger(), Inside(system.urls)
    await introduce(inside, QUEUE)
    key_of = await submit(system, ledger)
    deaths = await kill_workers(system, inside)
    async with Reader(system.of("gateway")[0].url) as reader:
        await until_drained(reader, inside, ledger.accepted, QUEUE, SETTLE_SECONDS)
        told = await reader.told(QUEUE)
    inside.close()
    seen = system.seen()
    assert violations(History(ledger.asked, ledger.accepted, seen, told)) == []
    assert {one.status for one in told.values()} == {"succeeded"}
    assert any(each.outcome == "lost" for one in told.values() for each in one.executions)
    at_once = {key: most_at_once(seen, key, key_of, deaths) for key in KEYS}
    assert at_once == dict.fromkeys(KEYS, MOST)


async def submit(system: System, ledger: Ledger) -> Mapping[str, str]:
    """All jobs in one request, their keys mixed; the key of each."""
    keys = [KEYS[number % len(KEYS)] for number in range(JOBS)]
    random.Random(JOBS).shuffle(keys)
    async with HttpClient([system.of("gateway")[0].url], ledger) as client:
        wishes = [Wish(seconds=SECONDS, limits={"key": key, "concurrency": MOST}) for key in keys]
        await client.submit_batch("limits", wishes)
    return {id_of_element("limits", place): key for place, key in enumerate(keys)}


async def kill_workers(system: System, inside: Inside) -> Mapping[int, float]:
    """Each that is killed has jobs under way; pid → when it was dead."""
    deaths: dict[int, float] = {}
    for number in range(KILLS):
        worker = system.of("worker")[number % 3]
        await until_busy(inside, worker)
        pid = worker.pid
        worker.kill()
        deaths[pid] = time.time()
    return deaths


async def until_busy(inside: Inside, worker: Member) -> None:
    """Return when it runs jobs."""
    await eventually(lambda: inside.is_busy(worker.pid), SETTLE_SECONDS, every=0.01)


def most_at_once(
    seen: Sequence[Sighting], key: str, key_of: Mapping[str, str], deaths: Mapping[int, float]
) -> int:
    """How many jobs of this key ran at the same time, at most."""
    steps = sorted(_steps([one for one in seen if key_of[one.job_id] == key], deaths))
    return max(accumulate(step for _, step in steps))


def _steps(seen: Sequence[Sighting], deaths: Mapping[int, float]) -> Iterator[tuple[float, int]]:
    """When one more ran, and when one less."""
    under_way: dict[tuple[str, int], Sighting] = {}
    for one in seen:
        if one.seen is Seen.STARTED:
            under_way[one.job_id, one.attempt] = one
            yield one.at, 1
        else:
            del under_way[one.job_id, one.attempt]
            yield one.at, -1
    for left in under_way.values():
        yield deaths[left.pid], -1
