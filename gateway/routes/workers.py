"""Workers and watchers: who is alive; and the door for workers that speak HTTP.

Nothing of a worker is kept here: each of its requests may come to another gateway.
"""

import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gateway import worker_end, worker_lease
from gateway.deps import Deps, GatewayDeps
from gateway.found_job import find_record
from gateway.path_id import canonical
from gateway.problems import RETRY_SECONDS, problem
from gateway.rendering import (
    instant,
    json_response,
    last_attempt,
    render_execution,
    render_job,
    render_watcher,
    render_worker,
)
from gateway.request_body import read_body
from gateway.said_once import SAID_ONCE
from gateway.worker_calls import (
    WORKER_ID,
    HeartbeatCall,
    LogCall,
    RegisterCall,
    ResultCall,
    WorkQuery,
    read_call,
)
from gateway.worker_named import beat_of, remembered
from pipeline.domain.errors import Conflict, NotFound
from pipeline.domain.job import Job
from pipeline.domain.queue_share import told_weights, weights_of
from pipeline.ports import OVER_HTTP, Attempt, WorkerView

router = APIRouter(tags=["workers"])


@router.get("/workers", summary="Who is alive", response_class=Response)
async def list_workers(deps: Deps) -> Response:
    """The workers that have been heard of within their time."""
    alive = sorted(await deps.queue.workers(), key=lambda worker: worker.id)
    return json_response({"items": [render_worker(each) for each in alive], "next_cursor": None})


@router.get("/watchers", summary="Which watchers are alive", response_class=Response)
async def list_watchers(deps: Deps) -> Response:
    """Those that have been heard of within their time, by id."""
    items = [render_watcher(each) for each in await deps.queue.watchers()]
    return json_response({"items": items, "next_cursor": None})


@router.post("/workers/register", summary="A worker over HTTP is there", response_class=Response)
async def register_worker(deps: Deps, request: Request) -> Response:
    """A worker is there. Say it again, with the same `id`, whenever a 404 says that it is not."""
    call = read_call(await _body(request, deps), RegisterCall)
    view = _view_of(call, deps)
    if not await deps.http_workers.register(view, remembered(deps)):
        raise Conflict(f"there is a worker {view.id!r}, and it is not one over HTTP")
    await deps.http_workers.runs(view.id, (), (), deps.lease)  # what it runs is listed again
    return json_response(
        {
            "id": view.id,
            "queues": call.queues,
            "lease_seconds": deps.lease.total_seconds(),
            "heartbeat_seconds": beat_of(deps).total_seconds(),
        }
    )


@router.post(
    "/workers/heartbeat",
    summary="A worker over HTTP is alive, and what it runs",
    response_class=Response,
)
async def beat(deps: Deps, request: Request) -> Response:
    """Its leases begin anew, as far as MongoDB says that its attempts still run."""
    call = read_call(await _body(request, deps), HeartbeatCall)
    beaten = await worker_end.beat(call, deps)
    return json_response(
        {
            "registered": beaten.is_registered,
            "running": [_named(attempt) for attempt in beaten.running],
            "stop": [_named(attempt) for attempt in beaten.stop],
        }
    )


@router.get(
    "/workers/{worker}/next",
    summary="Work for a worker over HTTP",
    response_class=Response,
    dependencies=SAID_ONCE,
)
async def next_job(
    worker: str,
    deps: Deps,
    request: Request,
    query: Annotated[WorkQuery, Query()],
) -> Response:
    """A job, which runs from now on and is the worker's for one lease; 204: none within `wait`.

    429: the worker has run as many jobs as its `concurrency` says during all of it.
    """
    _check(worker)
    # Only behind its body, which means nothing, is what tells that the client has gone.
    await read_body(request, deps.limits.job_bytes, "a request for work")

    async def is_gone() -> bool:
        return bool(request.app.state.stopping) or await request.is_disconnected()

    asked = worker_lease.Request(worker, query.request or deps.chance.token(), query.wait)
    try:
        job = await worker_lease.next_job(asked, deps, request.app.state.bells, is_gone)
    except worker_lease.WorkerIsFull as full:
        text = f"{full}: say how one of them ended, or register with a greater `concurrency`"
        return problem(HTTPStatus.TOO_MANY_REQUESTS, text, headers={"Retry-After": RETRY_SECONDS})
    return Response(status_code=204) if job is None else await _handed(job, deps)


@router.delete(
    "/workers/{worker}",
    summary="A worker over HTTP goes",
    status_code=204,
    response_class=Response,
)
async def retire_worker(worker: str, deps: Deps) -> Response:
    """It is not listed any more. What it runs stays its own until the lease runs out."""
    _check(worker)
    if not await deps.http_workers.retire(worker):
        raise NotFound(f"there is no worker {worker!r} over HTTP")
    return Response(status_code=204)


@router.post(
    "/jobs/{job_id}/log",
    summary="What a running attempt writes",
    status_code=204,
    response_class=Response,
)
async def write_log(job_id: str, deps: Deps, request: Request) -> Response:
    """What the attempt writes goes into its record (the last 64 KiB). 409: it is not its any more,
    and the worker should stop it."""
    call = read_call(await _body(request, deps), LogCall)
    await worker_end.write(canonical(job_id, "job"), call, deps)
    return Response(status_code=204)


@router.post("/jobs/{job_id}/result", summary="How an attempt ended", response_class=Response)
async def end_job(job_id: str, deps: Deps, request: Request) -> Response:
    """The record of the attempt. The same again is the same answer; 409: another record stands."""
    call = read_call(await _body(request, deps), ResultCall)
    execution = await worker_end.finish(canonical(job_id, "job"), call, deps)
    return json_response(render_execution(execution))


async def _body(request: Request, deps: GatewayDeps) -> bytes:
    return await read_body(request, deps.limits.worker_call_bytes, "a worker's call")


def _check(worker: str) -> None:
    if not re.fullmatch(WORKER_ID, worker):
        raise NotFound(f"there is no worker {worker!r}")


def _view_of(call: RegisterCall, deps: GatewayDeps) -> WorkerView:
    weights = weights_of(call.queues)
    return WorkerView(
        id=call.id or deps.chance.token(),
        host=call.host,
        pid=call.pid,
        queues=list(weights),
        concurrency=call.concurrency,
        running=0,
        started_at=deps.clock.now(),
        extra=OVER_HTTP | {"version": call.version} | told_weights(weights),
    )


def _named(attempt: Attempt) -> dict[str, Any]:
    return {"id": attempt.job_id, "attempt": attempt.attempt}


async def _handed(job: Job, deps: GatewayDeps) -> Response:
    """The job and what the worker has to say with its result; in headers too, for a shell."""
    last = await find_record(job.id, last_attempt(job), deps)
    assert job.lease_id is not None
    headers = {
        "DueQ-Job-Id": job.id,
        "DueQ-Attempt": str(job.attempt),
        "DueQ-Lease": job.lease_id,
        "DueQ-Scheduled-At": instant(job.due_at) or "",
    }
    told = {"DueQ-Schedule-Id": job.schedule_id, "DueQ-Fire-Time": instant(job.fire_time)}
    headers |= {header: value for header, value in told.items() if value is not None}
    body = render_job(job, last) | {
        "lease": job.lease_id,
        "lease_seconds": deps.lease.total_seconds(),
    }
    return json_response(body, headers=headers)
