"""Many watchers, one fire: they are killed at random, and each fire time has exactly one job.

In the long form 10,000 schedules. Every policy of overlap is among them; runs end within
milliseconds, so hardly a fire is skipped, and one that is has been written down.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from infra.local.servers import Urls
from tests.chaos.fires import Fires, Plan, violations
from tests.chaos.system import Part, System
from tests.support import eventually

WATCHERS = 3
PARTS = (*[Part("watcher")] * WATCHERS, Part("worker"))
COUNT, LONG_COUNT = 400, 10_000
EVERY, LONG_EVERY = 5, 60
SECONDS, LONG_SECONDS = 15, 240
BETWEEN_KILLS = (0.3, 2.0)
SETTLE_SECONDS = 120.0
SHOWN = 10


@pytest_asyncio.fixture
async def system(
    amqp_url: str, mongo_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[System]:
    """Three watchers, and a worker for what they make."""
    async with System(Urls(amqp_url, mongo_url, redis_url), tmp_path / "system") as system:
        await system.start(*PARTS)
        yield system


async def test_each_fire_time_has_one_job_however_many_watchers_are_killed(
    system: System, mongo_url: str, long_form: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    fires = Fires(mongo_url)
    starts = fires.now().replace(microsecond=0) + timedelta(seconds=5)
    seconds = LONG_SECONDS if long_form else SECONDS
    plan = Plan(
        LONG_COUNT if long_form else COUNT,
        LONG_EVERY if long_form else EVERY,
        starts,
        starts + timedelta(seconds=seconds),
    )
    schedules = list(plan.schedules())
    fires.store(schedules)
    kills = await kill_watchers(system, seconds + 5)
    await eventually(fires.are_over, SETTLE_SECONDS, every=0.5)
    with capsys.disabled():
        sys.stdout.write(f"\n  {plan.count} schedules, {fires.made()} jobs, {kills} kills\n")
    assert violations(plan, schedules, fires)[:SHOWN] == []
    assert kills >= seconds / max(BETWEEN_KILLS) / 2
    assert fires.made() >= 0.9 * sum(len(plan.fires_of(each)) for each in schedules)
    fires.close()


async def kill_watchers(system: System, seconds: float) -> int:
    """`kill -9` of any of them at any moment; how often."""
    chance, kills = random.Random(7), 0
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(chance.uniform(*BETWEEN_KILLS))
        chance.choice(system.of("watcher")).kill()
        kills += 1
    return kills
