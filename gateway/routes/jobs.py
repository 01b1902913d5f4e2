"""The jobs that are there: list, look, change, run, cancel, retry, delete, and their attempts."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import PlainTextResponse, Response

from gateway.bare_call import TAKES_NOTHING
from gateway.cursor import read_cursor, write_cursor
from gateway.deps import Deps, GatewayDeps
from gateway.guard import is_ndjson
from gateway.job_query import JobQuery
from gateway.patience import appears
from gateway.preconditions import tags_of
from gateway.problems import Refused
from gateway.rendering import json_response, last_attempt, render_execution, render_job
from gateway.request_body import read_body
from gateway.said_once import SAID_ONCE
from gateway.schedule_request import PageQuery, limit_of
from pipeline import operator
from pipeline.domain.body import read_json
from pipeline.domain.errors import Flaw, NotFound, Rejected, Unavailable
from pipeline.domain.execution import Execution
from pipeline.domain.identity import born_at
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ending import nudge
from pipeline.ports import LiveNote

router = APIRouter(tags=["jobs"])
_NUMBER = re.compile(r"[0-9]{1,18}")
AttemptNumber = Annotated[int, Path(ge=0, lt=2**63)]


class ListQuery(JobQuery):
    """What a list takes; an unknown parameter is an error."""

    limit: Annotated[int, Field(ge=1)] = 50
    cursor: Annotated[str | None, Field(description="`next_cursor` of the last page.")] = None


class AttemptsQuery(PageQuery):
    """A page of attempts; few jobs have more than one."""

    limit: Annotated[int, Field(ge=1)] = 500


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
    most = deps.limits.page_jobs
    if query.limit > most:
        raise Rejected("invalid", Flaw("/limit", f"must be {most} at most"))
    page = await deps.store.list(query.filter(), query.limit, read_cursor(query.cursor))
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
    job = await _find(job_id, deps)
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
    if is_ndjson(request.headers.get("content-type", "").encode()):
        raise Refused(415, "a change is application/merge-patch+json or application/json")
    patch = read_json(await read_body(request, deps.limits.job_bytes, "a change"))
    is_meant = _meant(request, deps)
    job = await _find(job_id, deps)
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
    job = await _find(job_id, deps)
    hastened = await operator.run_now(job.id, deps.store, deps.queue, deps.clock, is_meant)
    return await _answer(hastened, deps)


@router.get(
    "/jobs/{job_id}/executions",
    summary="Its attempts",
    response_class=Response,
    dependencies=SAID_ONCE,
)
async def list_executions(
    job_id: str, deps: Deps, query: Annotated[AttemptsQuery, Query()]
) -> Response:
    """Oldest first. They are numbered from 1, so the cursor is the last number seen."""
    limit = limit_of(query, deps)
    after = _read_number(query.cursor)
    job = await _find(job_id, deps)
    limit = max(0, min(limit, job.attempt - after))
    attempts = await deps.store.executions(job.id, after, limit)
    items = [render_execution(attempt) for attempt in attempts]
    last = after + limit
    more = last < job.attempt
    return json_response({"items": items, "next_cursor": str(last) if more else None})


@router.get("/jobs/{job_id}/executions/{attempt}", summary="One", response_class=Response)
async def show_execution(job_id: str, attempt: AttemptNumber, deps: Deps) -> Response:
    """One attempt that has ended."""
    return json_response(render_execution(await _execution(job_id, attempt, deps)))


@router.get(
    "/jobs/{job_id}/executions/{attempt}/log",
    summary="Its captured output",
    response_class=PlainTextResponse,
)
async def show_log(job_id: str, attempt: AttemptNumber, deps: Deps) -> Response:
    """What the attempt wrote: stdout, then stderr; or its log, then the story of its error.

    Of one that runs, the last of what it has written by now, half a second old at most.
    """
    job = await _find(job_id, deps)
    name = (job.id, attempt)
    record = (await deps.store.executions_by_id([name])).get(name)
    if record is not None and (text := _log_of(record)):
        return PlainTextResponse(text)
    live = (await _told([name], deps)).get(name)
    if live is None and record is None and name != (job.id, _running_attempt(job)):
        raise NotFound(f"there is no record of attempt {attempt} of job {job.id}")
    return PlainTextResponse(live.log if live else "")


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
    job = await _find(job_id, deps)
    cancelled = await operator.cancel(job.id, deps.store, deps.clock, is_meant, deps.live)
    await nudge([cancelled], deps.queue)
    return await _answer(cancelled, deps)


@router.post(
    "/jobs/{job_id}/retry", summary="Redrive a dead or cancelled job", dependencies=TAKES_NOTHING
)
async def retry_job(job_id: str, deps: Deps, request: Request) -> Response:
    """The job, pending and due now; 409 if it is neither dead nor cancelled."""
    is_meant = _meant(request, deps)
    job = await _find(job_id, deps)
    return await _answer(await operator.redrive(job.id, deps.store, deps.queue, is_meant), deps)


@router.delete("/jobs/{job_id}", summary="Remove a job that is not running", status_code=204)
async def delete_job(job_id: str, deps: Deps, request: Request) -> Response:
    """The job and its executions are gone; 409 while it runs."""
    is_meant = _meant(request, deps)
    job = await _find(job_id, deps)
    await operator.bury(job.id, deps.store, is_meant)
    return Response(status_code=204)


def _meant(request: Request, deps: GatewayDeps) -> operator.Meant | None:
    """What `If-Match` says of the job that stands; None without it."""
    tags = tags_of(request)
    if tags is None:
        return None

    async def is_meant(job: Job) -> bool:
        return (await _rendered(job, deps))[1] in tags

    return is_meant


async def _find(job_id: str, deps: GatewayDeps) -> Job:
    """The job; one whose id was made a moment ago may still be on its way (RabbitMQ, ingest)."""
    wanted = _canonical(job_id)
    within = deps.limits.readable_within if _is_young(wanted, deps) else timedelta(0)
    job = await appears(lambda: deps.store.get(wanted), within, deps.clock)
    if job is None:
        raise NotFound(f"there is no job {wanted}")
    return job


def _canonical(job_id: str) -> str:
    try:
        return str(UUID(job_id))
    except ValueError:
        raise NotFound("there is no such job: an id is a UUID") from None


def _is_young(job_id: str, deps: GatewayDeps) -> bool:
    """Measured against an id of our own: UUIDv7 carry their maker's wall clock, and that may be
    minutes away from MongoDB's, which is what `Clock` tells (R11)."""
    born, now = born_at(job_id), born_at(deps.chance.job_id())
    return born is not None and now is not None and abs(now - born) < deps.limits.young


def _read_number(cursor: str | None) -> int:
    """The attempt after which a page begins; raises `Rejected`."""
    if cursor is None:
        return 0
    if not _NUMBER.fullmatch(cursor):
        raise Rejected("invalid", Flaw("/cursor", "is not a cursor of this list"))
    return int(cursor)


async def _execution(job_id: str, attempt: int, deps: GatewayDeps) -> Execution:
    job = await _find(job_id, deps)
    name = (job.id, attempt)
    found = (await deps.store.executions_by_id([name])).get(name)
    if found is None:
        raise NotFound(f"there is no record of attempt {attempt} of job {job.id}")
    return found


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
    running = [(job.id, job.attempt) for job in jobs if _running_attempt(job)]
    live = await _told(running, deps) if running else {}
    return [
        render_job(job, last.get((job.id, last_attempt(job))), live.get((job.id, job.attempt)))
        for job in jobs
    ]


def _running_attempt(job: Job) -> int | None:
    return job.attempt if job.state is State.RUNNING else None


async def _told(
    attempts: Sequence[tuple[str, int]], deps: GatewayDeps
) -> Mapping[tuple[str, int], LiveNote]:
    """Without Redis a job is shown all the same."""
    try:
        return await deps.live.told(attempts)
    except Unavailable:
        return {}


def _log_of(execution: Execution) -> str:
    parts = [str(execution.report.get(name) or "") for name in ("stdout", "stderr")]
    if not any(parts):
        parts = [str(execution.report.get("log") or "")]
        if execution.error is not None:
            parts.append(execution.error.detail or execution.error.message)
    return "\n".join(part.rstrip("\n") for part in parts if part) + "\n" if any(parts) else ""
