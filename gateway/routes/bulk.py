"""The same for many jobs: cancel, retry or delete all that a filter finds."""

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from gateway.bulk_call import BulkCall
from gateway.deps import Deps, GatewayDeps
from gateway.guard import is_ndjson
from gateway.problems import Refused
from gateway.rendering import json_response
from gateway.request_body import read_body
from pipeline.bulk import Bulk, Tally
from pipeline.domain.body import flaws_of, read_json
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.states import Event

router = APIRouter(tags=["jobs"])


@router.post("/jobs/cancel", summary="Cancel many, also while running", response_class=Response)
async def cancel_jobs(deps: Deps, request: Request) -> Response:
    """What waits or runs and is found by the filter, newest first; nothing added meanwhile."""
    call = await _read(request, deps)
    if call.dry_run:
        return await _count(Event.CANCEL, call, deps)
    return _tell(await _bulk(deps).cancel(call.filter.filter(), call.limit))


@router.post("/jobs/retry", summary="Redrive many dead or cancelled jobs", response_class=Response)
async def retry_jobs(deps: Deps, request: Request) -> Response:
    """What is dead or cancelled and is found by the filter becomes pending and due now."""
    call = await _read(request, deps)
    if call.dry_run:
        return await _count(Event.REDRIVE, call, deps)
    return _tell(await _bulk(deps).redrive(call.filter.filter(), call.limit))


@router.post("/jobs/delete", summary="Remove many that are not running", response_class=Response)
async def delete_jobs(deps: Deps, request: Request) -> Response:
    """What does not run and is found by the filter goes, with its executions."""
    call = await _read(request, deps)
    if call.dry_run:
        return await _count(Event.BURY, call, deps)
    return _tell(await _bulk(deps).bury(call.filter.filter(), call.limit))


async def _read(request: Request, deps: GatewayDeps) -> BulkCall:
    if is_ndjson(request.headers.get("content-type", "").encode()):
        raise Refused(415, "a call on many jobs is application/json")
    body = read_json(await read_body(request, deps.limits.job_bytes, "such a call"))
    try:
        call = BulkCall.model_validate(body)
    except ValidationError as error:
        flaws = flaws_of(error, body)
        raise Rejected("invalid", *(_placed(flaw) for flaw in flaws)) from None
    most = deps.limits.bulk_jobs
    if call.limit > most:
        raise Rejected("invalid", Flaw("/limit", f"must be {most} at most"))
    return call


def _placed(flaw: Flaw) -> Flaw:
    """What is wrong with the whole is the filter."""
    return flaw if flaw.pointer or "filter" not in flaw.detail else Flaw("/filter", flaw.detail)


def _bulk(deps: GatewayDeps) -> Bulk:
    return Bulk(deps.store, deps.queue, deps.clock, deps.limits.bulk_within, deps.live)


async def _count(event: Event, call: BulkCall, deps: GatewayDeps) -> Response:
    tally = await _bulk(deps).count(event, call.filter.filter(), call.limit)
    return json_response({"matched": tally.matched, "complete": tally.complete})


def _tell(tally: Tally) -> Response:
    return json_response(
        {
            "matched": tally.matched,
            "changed": tally.changed,
            "unchanged": tally.unchanged,
            "complete": tally.complete,
        }
    )
