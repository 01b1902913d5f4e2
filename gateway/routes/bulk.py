"""The same for many jobs: cancel, retry or delete all that a filter finds."""

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from gateway.bulk_call import BulkCall
from gateway.deps import Deps, GatewayDeps
from gateway.rendering import json_response
from gateway.request_body import read_json_body
from pipeline.bulk import Bulk
from pipeline.domain.body import flaws_of
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.states import Event

router = APIRouter(tags=["jobs"])


@router.post("/jobs/cancel", summary="Cancel many, also while running", response_class=Response)
async def cancel_jobs(deps: Deps, request: Request) -> Response:
    """What waits or runs and is found by the filter, newest first; nothing added meanwhile."""
    return await _apply(Event.CANCEL, request, deps)


@router.post("/jobs/retry", summary="Redrive many dead or cancelled jobs", response_class=Response)
async def retry_jobs(deps: Deps, request: Request) -> Response:
    """What is dead or cancelled and is found by the filter becomes pending and due now."""
    return await _apply(Event.REDRIVE, request, deps)


@router.post("/jobs/delete", summary="Remove many that are not running", response_class=Response)
async def delete_jobs(deps: Deps, request: Request) -> Response:
    """What does not run and is found by the filter goes, with its executions."""
    return await _apply(Event.BURY, request, deps)


async def _apply(event: Event, request: Request, deps: GatewayDeps) -> Response:
    call = await _read(request, deps)
    bulk = Bulk(deps.store, deps.queue, deps.clock, deps.limits.bulk_within, deps.live)
    wanted = call.filter.filter()
    if call.dry_run:
        counted = await bulk.count(event, wanted, call.limit)
        return json_response({"matched": counted.matched, "complete": counted.complete})
    acts = {Event.CANCEL: bulk.cancel, Event.REDRIVE: bulk.redrive, Event.BURY: bulk.bury}
    tally = await acts[event](wanted, call.limit)
    return json_response(
        {
            "matched": tally.matched,
            "changed": tally.changed,
            "unchanged": tally.unchanged,
            "complete": tally.complete,
        }
    )


async def _read(request: Request, deps: GatewayDeps) -> BulkCall:
    body = await read_json_body(request, deps.limits.job_bytes, "such a call")
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
