"""Schedules at a gateway on fakes: made, looked up in the store, decided about by a watcher."""

from typing import Any

from pipeline.domain.firing import decide
from pipeline.domain.schedule import Schedule
from pipeline.ports import Advance
from tests.gateway_world import GatewayWorld

NINE = {"name": "nightly", "cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"}


async def created(world: GatewayWorld, **body: Any) -> str:
    answer = await world.post("/api/schedules", body or NINE)
    assert answer.status == 201, answer.body
    schedule_id: str = answer.json["id"]
    return schedule_id


async def stored(world: GatewayWorld, schedule_id: str) -> Schedule:
    schedule = await world.schedules.get_schedule(schedule_id)
    assert schedule is not None
    return schedule


async def watched(world: GatewayWorld, schedule_id: str) -> None:
    """A watcher decides about it now."""
    schedule = await stored(world, schedule_id)
    plan = decide(schedule, world.clock.now(), busy=False)
    await world.store.insert(
        [
            schedule.submission(run.fire_time, run.fire_time, 5, world.clock.now())
            for run in plan.runs
        ],
        world.clock.now(),
    )
    await world.schedules.advance([Advance(schedule, plan)], world.clock.now())
