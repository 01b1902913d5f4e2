"""Queues and counts: what waits where, and what holds it back."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gateway.bare_call import TAKES_NOTHING
from gateway.deps import Deps, GatewayDeps
from gateway.queue_limits import KEYS_SHOWN, changed, render_key, render_limit
from gateway.rendering import json_response, render_peeked, render_queue, render_sick
from gateway.request_body import read_json_body
from pipeline.domain.errors import Flaw, NotFound, Rejected, Unavailable
from pipeline.domain.job import NAME
from pipeline.domain.limits import NO_LIMIT, Limit
from pipeline.domain.states import VISIBLE_STATES
from pipeline.ports import QueueView

router = APIRouter(tags=["queues"])
_NAME = re.compile(NAME)
_LOOKS = 20


@router.get("/queues", summary="All queues", response_class=Response)
async def list_queues(deps: Deps) -> Response:
    """Every queue that ever had a job, a pause or a limit, by name."""
    items = [render_queue(view) for view in await _views(deps)]
    return json_response({"items": items, "next_cursor": None})


@router.get("/queues/{queue}", summary="One queue", response_class=Response)
async def show_queue(queue: str, deps: Deps) -> Response:
    """Delayed, ready and leased counts, the oldest wait in seconds, whether it is paused.

    `workers`: how many take jobs from it. `limits`: its own, and what it waits for now.
    `waiting_keys`: limit keys that hold jobs back.
    `sick_targets`: where its http jobs are held back, until when, and how often one was.
    """
    if queue not in await _names(deps):
        raise NotFound(f"there is no queue {queue!r}")
    return await _shown(queue, deps)


@router.patch("/queues/{queue}", summary="Change the limit of a queue", response_class=Response)
async def change_queue(queue: str, deps: Deps, request: Request) -> Response:
    """Its limit, as a JSON Merge Patch: `concurrency` (how many of its jobs run at a time) and
    `rate` (`{count, per, burst}`); null is no limit. In force with the next lease; what runs, runs
    on. In the same order as `pause`, for the same reason.
    """
    patch = await read_json_body(request, deps.limits.job_bytes, "a change")
    await deps.queue.limit(queue, await _changed(_checked(queue), patch, deps))
    return await _shown(queue, deps)


async def _changed(queue: str, patch: Any, deps: GatewayDeps) -> Limit:
    """The limit as it was written. Whoever changed it since we read it makes us read again: what
    the patch does not name stays as he has said."""
    for _ in range(_LOOKS):
        before = (await deps.store.limited_queues()).get(queue, NO_LIMIT)
        limit = changed(before, patch)
        if await deps.store.limit_queue(queue, limit, before):
            return limit
    raise Unavailable("MongoDB", "the limit would not hold still to be changed")


async def _shown(queue: str, deps: GatewayDeps) -> Response:
    view = await deps.queue.view(queue)
    limit = (await deps.store.limited_queues()).get(queue, NO_LIMIT)
    keys = await deps.queue.full_keys(queue, KEYS_SHOWN)
    sick = [each for each in await deps.targets.list() if queue in each.held]
    workers = [worker for worker in await deps.queue.workers() if queue in worker.queues]
    return json_response(
        render_queue(view)
        | {
            "workers": len(workers),
            "limits": render_limit(limit, view),
            "waiting_keys": [render_key(key) for key in keys],
            "sick_targets": [render_sick(each, queue) for each in sick],
        }
    )


@router.get("/queues/{queue}/peek", summary="The next jobs in order", response_class=Response)
async def peek_queue(queue: str, deps: Deps, n: Annotated[int, Query(ge=1)] = 10) -> Response:
    """As they would be leased: what is ready, what limits hold back, then what is delayed."""
    if n > deps.limits.peek_jobs:
        raise Rejected("invalid", Flaw("/n", f"must be {deps.limits.peek_jobs} at most"))
    waiting = await deps.queue.peek(_checked(queue), n)
    return json_response({"items": [render_peeked(job) for job in waiting], "next_cursor": None})


@router.post(
    "/queues/{queue}/pause",
    summary="Lease nothing from it",
    response_class=Response,
    dependencies=TAKES_NOTHING,
)
async def pause_queue(queue: str, deps: Deps) -> Response:
    """Truth first: were Redis lost in between, the reconciler pauses it there again."""
    await deps.store.pause_queue(_checked(queue))
    await deps.queue.pause(queue)
    return json_response(render_queue(await deps.queue.view(queue)))


@router.post(
    "/queues/{queue}/resume",
    summary="Lease from it again",
    response_class=Response,
    dependencies=TAKES_NOTHING,
)
async def resume_queue(queue: str, deps: Deps) -> Response:
    """In the same order as `pause`, for the same reason."""
    await deps.store.resume_queue(_checked(queue))
    await deps.queue.resume(queue)
    return json_response(render_queue(await deps.queue.view(queue)))


@router.get("/stats", summary="Counts of everything", response_class=Response)
async def show_stats(deps: Deps) -> Response:
    """Jobs by state, queues, workers."""
    counts = await deps.store.counts()
    alive = await deps.queue.workers()
    return json_response(
        {
            "jobs": {state.value: counts.get(state, 0) for state in sorted(VISIBLE_STATES)},
            "queues": [render_queue(view) for view in await _views(deps)],
            "workers": {
                "alive": len(alive),
                "slots": sum(worker.concurrency for worker in alive),
                "running": sum(worker.running for worker in alive),
            },
        }
    )


def _checked(queue: str) -> str:
    if not _NAME.fullmatch(queue):
        raise NotFound(f"there is no queue {queue!r}: a name matches {NAME}")
    return queue


async def _names(deps: GatewayDeps) -> frozenset[str]:
    return await deps.queue.queues() | await deps.store.active_queues()


async def _views(deps: GatewayDeps) -> list[QueueView]:
    return list(await deps.queue.views(sorted(await _names(deps))))
