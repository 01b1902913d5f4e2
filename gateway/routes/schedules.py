"""Schedules: make, look, change, delete; pause, resume, trigger.

A schedule is stored by the gateway itself, so a 201 means that MongoDB has it. The job of a trigger
goes the way of every job, through RabbitMQ (R1).
"""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from gateway.acceptance import Acceptance, read_traceparent
from gateway.asked import Asked
from gateway.bare_call import TAKES_NOTHING
from gateway.cursor import read_cursor, write_cursor
from gateway.deps import Deps, GatewayDeps
from gateway.keys import read_header
from gateway.page_query import PageQuery, limit_of
from gateway.preconditions import etag_of, versions_of
from gateway.problems import problem_of
from gateway.rendering import accepted, json_response, render_schedule
from gateway.said_once import SAID_ONCE
from gateway.schedule_request import body_of, find_schedule, header_of, id_of
from pipeline import owner
from pipeline.domain.errors import UnknownOutcome
from pipeline.domain.identity import id_of_key, id_of_schedule
from pipeline.domain.instants import whole_ms_down
from pipeline.domain.schedule import Schedule

router = APIRouter(tags=["schedules"])


class ListQuery(PageQuery):
    """A page, narrowed."""

    q: Annotated[str | None, Field(description="The start of the name.")] = None


# -- one and many


@router.post("/schedules", summary="Create a schedule", response_class=Response)
async def create_schedule(deps: Deps, request: Request) -> Response:
    """The schedule; the same key and body again is the same schedule."""
    key = read_header(header_of(request, "idempotency-key"))
    schedule_id = id_of_schedule(key) if key else deps.chance.job_id()
    body = await body_of(request, deps)
    try:
        schedule = await owner.create(schedule_id, body, deps.schedules, deps.clock)
    except UnknownOutcome as error:
        return problem_of(error, id=schedule_id)
    return _answer(schedule, 201, {"Location": f"/api/schedules/{schedule.id}"})


@router.get(
    "/schedules",
    summary="List schedules, newest first",
    response_class=Response,
    dependencies=SAID_ONCE,
)
async def list_schedules(deps: Deps, query: Annotated[ListQuery, Query()]) -> Response:
    """`{items, next_cursor}`."""
    after = read_cursor(query.cursor)
    page = await deps.schedules.list_schedules(limit_of(query, deps), after, query.q)
    items = [render_schedule(schedule) for schedule in page.schedules]
    return json_response({"items": items, "next_cursor": write_cursor(page.next_after)})


@router.get("/schedules/{schedule_id}", summary="One schedule", response_class=Response)
async def show_schedule(schedule_id: str, deps: Deps) -> Response:
    """The schedule; its `ETag` is the version to name in `If-Match`."""
    return _answer(await find_schedule(schedule_id, deps))


@router.patch("/schedules/{schedule_id}", summary="Change a schedule", response_class=Response)
async def change_schedule(schedule_id: str, deps: Deps, request: Request) -> Response:
    """The schedule after a JSON Merge Patch; 412 if `If-Match` names another version."""
    return await _change(schedule_id, await body_of(request, deps), deps, request)


@router.delete("/schedules/{schedule_id}", summary="Delete a schedule", status_code=204)
async def delete_schedule(schedule_id: str, deps: Deps, request: Request) -> Response:
    """The schedule is gone; its jobs stay."""
    versions = versions_of(request)
    await owner.delete(id_of(schedule_id), versions, deps.schedules, deps.store, deps.clock)
    return Response(status_code=204)


# -- holding it, and firing it by hand


@router.post(
    "/schedules/{schedule_id}/pause",
    summary="Fire no more",
    response_class=Response,
    dependencies=TAKES_NOTHING,
)
async def pause_schedule(schedule_id: str, deps: Deps, request: Request) -> Response:
    """The schedule, paused; jobs stay, but those stored ahead for times to come are cancelled."""
    return await _change(schedule_id, {"paused": True}, deps, request)


@router.post(
    "/schedules/{schedule_id}/resume",
    summary="Fire again",
    response_class=Response,
    dependencies=TAKES_NOTHING,
)
async def resume_schedule(schedule_id: str, deps: Deps, request: Request) -> Response:
    """The schedule, firing from now on; the fires of the pause are not made up for."""
    return await _change(schedule_id, {"paused": None}, deps, request)


@router.post(
    "/schedules/{schedule_id}/trigger",
    summary="A job now",
    response_class=Response,
    dependencies=TAKES_NOTHING,
)
async def trigger_schedule(schedule_id: str, deps: Deps, request: Request) -> Response:
    """A job of the schedule, due now, beside its fires; also while it is paused."""
    schedule = await find_schedule(schedule_id, deps)
    acceptance: Acceptance = request.app.state.acceptance
    asked = Asked(0, schedule.body.get("job", {}), schedule.spec.job)
    key = read_header(header_of(request, "idempotency-key"))
    submission = acceptance.submission(
        asked,
        id_of_key(f"trigger/{schedule.id}/{key}") if key else None,
        read_traceparent(header_of(request, "traceparent")),
    )
    fire_time = whole_ms_down(submission.accepted_at)
    submission = replace(submission, schedule_id=schedule.id, fire_time=fire_time)
    try:
        return accepted(submission, await acceptance.accept(submission))
    except UnknownOutcome as error:
        return problem_of(error, id=submission.id)


# -- in and out


async def _change(schedule_id: str, patch: Any, deps: GatewayDeps, request: Request) -> Response:
    versions = versions_of(request)
    wanted = id_of(schedule_id)
    schedule = await owner.change(wanted, patch, versions, deps.schedules, deps.store, deps.clock)
    return _answer(schedule)


def _answer(
    schedule: Schedule, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    tagged = {"ETag": etag_of(schedule.version), **(headers or {})}
    return json_response(render_schedule(schedule), status, tagged)
