"""The jobs that are there: list, look, change, run, cancel, retry, delete."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gateway.bare_call import TAKES_NOTHING
from gateway.cursor import read_cursor, write_cursor
from gateway.deps import Deps, GatewayDeps
from gateway.found_job import find_job, running_attempt, told
from gateway.job_query import JobQuery
from gateway.page_query import PageQuery, limit_of
from gateway.preconditions import tags_of
from gateway.rendering import json_response, last_attempt, render_job
from gateway.request_body import read_json_body
from gateway.said_once import SAID_ONCE
from pipeline import operator
from pipeline.domain.job import Job
from pipeline.domain.states import FINAL_STATES
from pipeline.ending import call_off, withdraw

router = APIRouter(tags=["jobs"])


class ListQuery(PageQuery, JobQuery):
    """What a list takes; an unknown parameter is an error."""


@router.get(
    "/jobs",
    summary="List jobs, newest first",
    response_class=Response,
    dependencies=SAID_ONCE,
)
async def list_jobs(deps: Deps, query: Annotated[ListQuery, Query()]) -> Response:
    """`{items, next_cursor}`.

    A page may be short, even empty, and have a `next_cursor` all the same: where what is asked for
    is rare, the search is broken off in time and goes on from there.
    """
    limit = limit_of(query, deps)
    page = await deps.store.list(query.filter(), limit, read_cursor(query.cursor))
    items = await _render_all(page.jobs, deps)
    return json_response({"items": items, "next_cursor": write_cursor(page.next_after)})


@router.get("/job", summary="One job, by parameter", response_class=Response)
async def show_by_parameter(
    deps: Deps, request: Request, job_id: Annotated[str, Query()]
) -> Response:
    """As `/jobs/{job_id}`."""
    return await show_job(job_id, deps, request)


@router.get("/jobs/{job_id}", summary="One job", response_class=Response)
async def show_job(job_id: str, deps: Deps, request: Request) -> Response:
    """The job with its `ETag`; one that was accepted a moment ago is waited for."""
    job = await find_job(job_id, deps)
    body, etag = await _rendered(job, deps)
    seen = request.headers.get("if-none-match", "")
    if seen.strip() == "*" or etag in seen:
        return Response(status_code=304, headers={"ETag": etag})
    return Response(body, headers={"ETag": etag}, media_type="application/json")


@router.patch("/jobs/{job_id}", summary="Change a job that waits", response_class=Response)
async def change_job(job_id: str, deps: Deps, request: Request) -> Response:
    """The job after a JSON Merge Patch of what was asked for; 409 once it runs or has ended.

    `run_at` and `delay` take each other's place and set a new due time (`delay` counts from now,
    null means now). Without `If-Match` it is made whatever came between; with it, 412 if anything
    did.
    """
    patch = await read_json_body(request, deps.limits.job_bytes, "a change")
    is_meant = _meant(request, deps)
    job = await find_job(job_id, deps)
    changed = await operator.change(job.id, patch, deps.store, deps.queue, deps.clock, is_meant)
    return await _answer(changed, deps)


@router.post(
    "/jobs/{job_id}/run",
    summary="Make a waiting job due now",
    response_class=Response,
    dependencies=TAKES_NOTHING,
)
async def run_job(job_id: str, deps: Deps, request: Request) -> Response:
    """The job, due; as it is if it was already; 409 once it runs or has ended."""
    is_meant = _meant(request, deps)
    job = await find_job(job_id, deps)
    hastened = await operator.run_now(job.id, deps.store, deps.queue, deps.clock, is_meant)
    return await _answer(hastened, deps)


@router.post(
    "/jobs/{job_id}/cancel",
    summary="Cancel, also while running",
    response_class=Response,
    dependencies=TAKES_NOTHING,
)
async def cancel_job(job_id: str, deps: Deps, request: Request) -> Response:
    """The job, cancelled; 409 if it had ended otherwise.

    Under `If-Match`, mind that the tag of a running job moves with its progress.
    """
    is_meant = _meant(request, deps)
    job = await find_job(job_id, deps)
    cancelled = await operator.cancel(job.id, deps.store, deps.clock, is_meant, deps.live)
    await call_off(cancelled, deps.queue)
    return await _answer(cancelled, deps)


@router.post(
    "/jobs/{job_id}/retry", summary="Redrive a dead or cancelled job", dependencies=TAKES_NOTHING
)
async def retry_job(job_id: str, deps: Deps, request: Request) -> Response:
    """The job, pending and due now; 409 if it is neither dead nor cancelled."""
    is_meant = _meant(request, deps)
    job = await find_job(job_id, deps)
    return await _answer(await operator.redrive(job.id, deps.store, deps.queue, is_meant), deps)


@router.delete("/jobs/{job_id}", summary="Remove a job that is not running", status_code=204)
async def delete_job(job_id: str, deps: Deps, request: Request) -> Response:
    """The job and its executions are gone; 409 while it runs."""
    is_meant = _meant(request, deps)
    job = await find_job(job_id, deps)
    await operator.bury(job.id, deps.store, is_meant)
    if job.state not in FINAL_STATES:
        await withdraw([job], deps.queue)
    return Response(status_code=204)


def _meant(request: Request, deps: GatewayDeps) -> operator.Meant | None:
    """What `If-Match` says of the job that stands; None without it."""
    tags = tags_of(request)
    if tags is None:
        return None

    async def is_meant(job: Job) -> bool:
        return (await _rendered(job, deps))[1] in tags

    return is_meant


async def _answer(job: Job, deps: GatewayDeps) -> Response:
    body, etag = await _rendered(job, deps)
    return Response(body, headers={"ETag": etag}, media_type="application/json")


async def _rendered(job: Job, deps: GatewayDeps) -> tuple[bytes, str]:
    """The job as it answers, and the entity tag of that."""
    (rendered,) = await _render_all([job], deps)
    body = orjson.dumps(rendered)
    return body, f'"{blake2b(body, digest_size=12).hexdigest()}"'


async def _render_all(jobs: Sequence[Job], deps: GatewayDeps) -> list[dict[str, Any]]:
    """Each with its last record; one question for the whole page."""
    names = [(job.id, last_attempt(job)) for job in jobs if last_attempt(job) > 0]
    last = await deps.store.executions_by_id(names) if names else {}
    running = [(job.id, job.attempt) for job in jobs if running_attempt(job)]
    live = await told(running, deps) if running else {}
    return [
        render_job(job, last.get((job.id, last_attempt(job))), live.get((job.id, job.attempt)))
        for job in jobs
    ]
