"""What schedules will do, and have done: previews, past fires, the forecast.

Reckoning is done in threads: other requests are answered meanwhile.
"""

import asyncio
from datetime import datetime
from typing import Annotated, Any, assert_never
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gateway.bare_call import TAKES_NOTHING
from gateway.cursor import read_cursor, write_cursor
from gateway.deps import Deps, GatewayDeps
from gateway.fires import Fire, read_fires
from gateway.page_query import PageQuery, limit_of
from gateway.rendering import (
    instant,
    json_response,
    render_clock_change,
    render_fire_to_come,
    render_run,
    render_skipped,
)
from gateway.said_once import SAID_ONCE
from gateway.schedule_request import body_of, find_schedule
from pipeline.domain.forecast import Forecast
from pipeline.domain.job import Job
from pipeline.domain.preview import preview
from pipeline.domain.schedule import Schedule
from pipeline.domain.schedule_edit import new_schedule
from pipeline.ports import Skipped

router = APIRouter(tags=["schedules"])
_FORECAST_PAGE = 200
"""So many schedules are decoded in one go before other requests get a turn."""
_BUSIEST = 10


class PreviewQuery(BaseModel):
    """How far a preview looks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: Annotated[int, Field(ge=1, le=1000, description="How many fires.")] = 10


@router.get("/schedules/{schedule_id}/preview", summary="Its next fires", response_class=Response)
async def preview_schedule(
    schedule_id: str, deps: Deps, query: Annotated[PreviewQuery, Query()]
) -> Response:
    """In UTC and local time, with every change of the clock up to the last of them."""
    return await _preview(await find_schedule(schedule_id, deps), query.n, deps)


@router.post("/schedules/preview", summary="The fires of one not stored", response_class=Response)
async def preview_unstored(
    deps: Deps, request: Request, query: Annotated[PreviewQuery, Query()]
) -> Response:
    """The same; `H` is drawn anew when the schedule is stored."""
    body = await body_of(request, deps)
    schedule = new_schedule(deps.chance.job_id(), body, deps.clock.now())
    return await _preview(schedule, query.n, deps)


@router.get(
    "/schedules/{schedule_id}/fires",
    summary="Its past fires",
    response_class=Response,
    dependencies=SAID_ONCE,
)
async def list_fires(
    schedule_id: str, deps: Deps, query: Annotated[PageQuery, Query()]
) -> Response:
    """Newest first: the job of each, or why it has none."""
    schedule = await find_schedule(schedule_id, deps)
    after = read_cursor(query.cursor)
    page = await read_fires(
        schedule.id, limit_of(query, deps), after[0] if after else None, deps.schedules
    )
    cursor = page.next_before and write_cursor((page.next_before, schedule.id))
    items = [_render_fire(fire) for fire in page.fires]
    return json_response({"items": items, "next_cursor": cursor})


@router.post(
    "/schedules/forecast",
    summary="Jobs per minute, next 24 hours",
    response_class=Response,
    dependencies=TAKES_NOTHING,
)
async def forecast(deps: Deps) -> Response:
    """From all schedules, to see the heap before it happens.

    Minutes without jobs are left out. Jitter is counted as spread evenly, so a minute may have
    parts of jobs.
    """
    reckoning = Forecast(deps.clock.now())
    after = None
    while True:
        page = await deps.schedules.list_schedules(_FORECAST_PAGE, after)
        await asyncio.to_thread(reckoning.add, page.schedules)
        after = page.next_after
        if after is None:
            return await asyncio.to_thread(_answer_forecast, reckoning)


def _answer_forecast(reckoning: Forecast) -> Response:
    jobs = reckoning.minutes()
    minutes = [
        {"at": instant(reckoning.minute(number)), "jobs": _count(count)}
        for number, count in enumerate(jobs)
        if count
    ]
    return json_response(
        {
            "from": instant(reckoning.start),
            "to": instant(reckoning.end),
            "schedules": reckoning.schedules,
            "total": _count(sum(jobs)),
            "busiest": sorted(minutes, key=_heaviest)[:_BUSIEST],
            "minutes": minutes,
        }
    )


async def _preview(schedule: Schedule, count: int, deps: GatewayDeps) -> Response:
    """In a thread: a thousand fires take a tenth of a second."""
    return await asyncio.to_thread(_answer_preview, schedule, deps.clock.now(), count)


def _answer_preview(schedule: Schedule, now: datetime, count: int) -> Response:
    zone, found = ZoneInfo(schedule.spec.timezone), preview(schedule, now, count)
    return json_response(
        {
            "in_words": schedule.in_words(),
            "timezone": schedule.spec.timezone,
            "items": [render_fire_to_come(fire, zone) for fire in found.fires],
            "clock_changes": [render_clock_change(change, zone) for change in found.changes],
            "next_cursor": None,
        }
    )


def _render_fire(fire: Fire) -> dict[str, Any]:
    match fire.what:
        case Job() as job:
            return render_run(job)
        case Skipped() as skipped:
            return render_skipped(skipped)
        case _:
            assert_never(fire.what)


def _count(jobs: float) -> float | int:
    rounded = round(jobs, 3)
    return int(rounded) if rounded.is_integer() else rounded


def _heaviest(minute: dict[str, Any]) -> tuple[float, str]:
    return -minute["jobs"], minute["at"]
