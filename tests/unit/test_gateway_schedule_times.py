"""What schedules will do, and what became of their fire times."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest_asyncio

from pipeline.domain.firing import Plan, Skip, SkipReason
from pipeline.ports import Advance
from tests.fakes.clock import START
from tests.gateway_schedules import created, stored, watched
from tests.gateway_world import GatewayWorld, gateway_world

HOUR = timedelta(hours=1)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


# ------------------------------------------------------------------------------------------ preview


async def test_a_preview_tells_utc_and_local_time_and_every_change_of_the_clock(
    world: GatewayWorld,
) -> None:
    body = {"cron": "30 2 * * SUN", "timezone": "Europe/Berlin", "start_at": "2026-03-22T00:00:00Z"}
    answer = await world.post("/api/schedules/preview?n=2", body)
    assert answer.json == {
        "in_words": "At 02:30 on Sunday",
        "timezone": "Europe/Berlin",
        "items": [
            {
                "at": "2026-03-22T01:30:00.000Z",
                "local": "2026-03-22T02:30:00.000+01:00",
                "note": None,
            },
            {
                "at": "2026-03-29T01:00:00.000Z",
                "local": "2026-03-29T03:00:00.000+02:00",
                "note": "on 2026-03-29 the clock goes forward from 02:00 to 03:00; "
                "02:30 of 2026-03-29 does not exist: "
                "fires at the moment of the change (gap: shift)",
            },
        ],
        "clock_changes": [
            {
                "at": "2026-03-29T01:00:00.000Z",
                "local_before": "2026-03-29T02:00:00.000+01:00",
                "local_after": "2026-03-29T03:00:00.000+02:00",
                "note": "on 2026-03-29 the clock goes forward from 02:00 to 03:00",
            }
        ],
        "next_cursor": None,
    }
    assert world.schedules.schedules == {}
    schedule_id = await created(world, **body)
    kept = await world.get(f"/api/schedules/{schedule_id}/preview?n=2")
    assert kept.json == answer.json


async def test_a_preview_shows_ten_and_a_thousand_at_most(world: GatewayWorld) -> None:
    path = f"/api/schedules/{await created(world)}/preview"
    assert len((await world.get(path)).json["items"]) == 10
    assert len((await world.get(f"{path}?n=1000")).json["items"]) == 1000
    for bad in ("n=0", "n=1001", "n=x"):
        assert (await world.get(f"{path}?{bad}")).pointers == ["/n"]
    refused = await world.post("/api/schedules/preview", {"cron": "0 0 30 2 *"})
    assert refused.pointers == ["/cron"]


# -------------------------------------------------------------------------------------------- fires


async def test_fires_are_jobs_and_skips_newest_first_over_all_pages(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=3600, misfire="all", misfire_grace=2 * 3600)
    world.clock.advance(5 * 3600)
    await watched(world, schedule_id)
    world.clock.advance(60)
    await world.post(f"/api/schedules/{schedule_id}/trigger")
    await world.ingest()
    seen = await all_fires(world, schedule_id, limit=2)
    assert [(fire["fire_time"][11:16], fire.get("skipped")) for fire in seen] == [
        ("17:01", None),
        ("17:00", None),
        ("16:00", None),
        ("15:00", None),
        ("14:00", "too_late"),
        ("13:00", "too_late"),
    ]
    job = (await world.get(f"/api/jobs/{seen[1]['job_id']}")).json
    assert seen[1] == {
        "fire_time": "2026-01-01T17:00:00.000Z",
        "job_id": job["id"],
        "status": job["status"],
        "due_at": job["due_at"],
    }
    assert seen[4] == {
        "fire_time": "2026-01-01T14:00:00.000Z",
        "until": "2026-01-01T14:00:00.000Z",
        "skipped": "too_late",
        "decided_at": "2026-01-01T17:00:00.000Z",
    }
    assert await all_fires(world, schedule_id, limit=1) == seen


async def test_a_fire_time_that_has_a_job_was_not_skipped(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=3600)
    world.clock.advance(3600)
    schedule = await stored(world, schedule_id)
    await watched(world, schedule_id)
    fire_time = START + HOUR
    skip = Skip(fire_time, fire_time, SkipReason.OVERLAP)
    late = Advance(schedule, Plan((), (skip,), fire_time + HOUR, fire_time))
    await world.schedules.advance([late], world.clock.now())
    (fire,) = await all_fires(world, schedule_id, limit=10)
    assert "job_id" in fire


async def test_jobs_of_one_instant_stay_on_one_page(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=3600)
    for _ in range(3):
        await world.post(f"/api/schedules/{schedule_id}/trigger")
    await world.ingest()
    assert len(await all_fires(world, schedule_id, limit=2)) == 3


async def test_a_job_made_while_the_fires_are_read_hides_its_skip(world: GatewayWorld) -> None:
    """skips are read → the job is made by a watcher that decided differently → jobs are read."""
    schedule_id = await created(world, every=3600)
    world.clock.advance(3600)
    schedule = await stored(world, schedule_id)
    skip = Skip(START + HOUR, START + HOUR, SkipReason.OVERLAP)
    await world.schedules.advance(
        [Advance(schedule, Plan((), (skip,), None, None))], world.clock.now()
    )
    original = world.schedules.skipped

    async def read(*asked: Any) -> Any:
        found = await original(*asked)
        job = schedule.submission(START + HOUR, START + HOUR, 5, world.clock.now())
        await world.store.insert([job], world.clock.now())
        return found

    world.schedules.skipped = read  # type: ignore[method-assign, assignment]
    (fire,) = await all_fires(world, schedule_id, limit=10)
    assert "job_id" in fire


async def all_fires(world: GatewayWorld, schedule_id: str, limit: int) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    path = f"/api/schedules/{schedule_id}/fires?limit={limit}"
    page = (await world.get(path)).json
    seen += page["items"]
    while page["next_cursor"]:
        page = (await world.get(f"{path}&cursor={page['next_cursor']}")).json
        seen += page["items"]
    return seen


# ----------------------------------------------------------------------------------------- forecast


async def test_a_forecast_shows_the_heap_before_it_happens(world: GatewayWorld) -> None:
    for number in range(450):
        await created(world, name=str(number), cron="0 9 * * *")
        world.clock.advance(0.001)
    await created(world, every=6 * 3600)
    await created(world, every=60, paused=True)
    answer = (await world.post("/api/schedules/forecast")).json
    assert answer["from"] == "2026-01-01T12:00:00.000Z"
    assert answer["to"] == "2026-01-02T12:00:00.000Z"
    assert (answer["schedules"], answer["total"]) == (451, 453)
    assert answer["busiest"][0] == {"at": "2026-01-02T09:00:00.000Z", "jobs": 450}
    assert [minute["at"][11:16] for minute in answer["minutes"]] == [
        "18:00", "00:00", "06:00", "09:00",
    ]  # fmt: skip
