"""The gateway as an ASGI application: ports in, routes out.

It stores nothing. A 202 means that RabbitMQ has confirmed the job (R1); everything else is read
from the stores. A gateway that dies takes only requests that were not answered.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from gateway import problems
from gateway.acceptance import Acceptance
from gateway.coalescer import Coalescer
from gateway.deps import GatewayDeps
from gateway.fast_lane import FastLane
from gateway.guard import Guard
from gateway.openapi import describe
from gateway.routes import (
    attempts,
    bulk,
    description,
    health,
    jobs,
    queues,
    schedule_times,
    schedules,
    workers,
)
from gateway.routes.submit import Submit
from gateway.worker_bells import Bells
from pipeline.stats import Stats

__all__ = ["GatewayDeps", "create_app"]
_JOBS = ("batch", "cancel", "delete", "retry")
_ONLY_POSTED = (
    *(f"{prefix}/workers/{verb}" for prefix in ("/api", "") for verb in ("register", "heartbeat")),
    *(f"{prefix}/jobs/{word}" for prefix in ("/api", "") for word in _JOBS),
    "/api/schedules/preview",
    "/api/schedules/forecast",
)
"""Words that stand where an id may stand: of these paths no other method means anything."""


def create_app(deps: GatewayDeps) -> FastAPI:
    """The application; it does nothing until its lifespan begins."""
    coalescer = Coalescer(deps.intake)
    bells = Bells(deps.queue, deps.clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with coalescer.running(), bells.running():
            yield

    # The usual pages for the API load their scripts from elsewhere: `/docs` is our own.
    app = FastAPI(
        title="DueQ",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.deps = deps
    app.state.stopping = False
    app.state.bells = bells
    app.state.stats = Stats("gateway", deps.clock)
    problems.install(app)
    app.state.acceptance = Acceptance(deps, coalescer, lambda: bool(app.state.stopping))
    submit = Submit(deps, app.state.acceptance)
    _route(app, submit, deps)
    app.add_middleware(FastLane, posts=submit.posts)
    app.add_middleware(  # the last one added is the first to see a request
        Guard,
        bind_is_loopback=deps.bind_is_loopback,
        request_bytes=deps.limits.request_bytes,
    )
    return app


def _route(app: FastAPI, submit: Submit, deps: GatewayDeps) -> None:
    """Every route; those without `/api` are hidden from the description."""
    for path, endpoint in submit.posts.items():
        app.add_route(path, endpoint, methods=["POST"])
    problems.only_posted(app, _ONLY_POSTED)
    app.include_router(jobs.router, prefix="/api")
    app.include_router(attempts.router, prefix="/api")
    app.include_router(bulk.router, prefix="/api")
    app.include_router(schedules.router, prefix="/api")
    app.include_router(schedule_times.router, prefix="/api")
    app.include_router(queues.router, prefix="/api")
    app.include_router(workers.router, prefix="/api")
    app.include_router(health.router)
    app.include_router(description.router)
    # The plain clients of the systems that this one replaces.
    app.include_router(jobs.router, include_in_schema=False)
    app.include_router(attempts.router, include_in_schema=False)
    app.include_router(bulk.router, include_in_schema=False)
    app.include_router(workers.router, include_in_schema=False)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        return describe(generate(), deps.limits)

    app.openapi = openapi  # type: ignore[method-assign]
