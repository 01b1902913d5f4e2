"""What this process says about itself: alive, ready, metrics, its own counts."""

from fastapi import APIRouter, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from gateway.deps import Deps
from gateway.problems import RETRY_SECONDS, problem
from gateway.rendering import json_response
from pipeline.telemetry import REGISTRY

router = APIRouter(tags=["process"])
_INDEX = """\
DueQ gateway
  POST /api/jobs            submit a job
  GET  /api/jobs            list jobs
  GET  /docs                everything else, to be read
  GET  /openapi.json        the same for programs
  GET  /asyncapi.json       jobs and events over AMQP, for programs
"""


@router.get("/", include_in_schema=False, response_class=PlainTextResponse)
async def index() -> Response:
    """Where to go from here."""
    return PlainTextResponse(_INDEX)


@router.get("/livez", summary="The process runs", response_class=Response)
async def livez() -> Response:
    """Always 200."""
    return json_response({"status": "alive"})


@router.get("/readyz", summary="A job could be accepted now", response_class=Response)
async def readyz(deps: Deps, request: Request) -> Response:
    """200 while it can publish. MongoDB and Redis do not count: RabbitMQ keeps what comes in."""
    if request.app.state.stopping:
        return _not_ready("the process is stopping")
    if not deps.intake.connected:
        return _not_ready("RabbitMQ is not connected, or takes nothing at the moment")
    return json_response({"status": "ready"})


@router.get("/metrics", summary="For Prometheus", response_class=PlainTextResponse)
async def metrics() -> Response:
    """The text format."""
    return Response(generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/stats", summary="What this process has done", response_class=Response)
async def stats(deps: Deps, request: Request) -> Response:
    """Of this process alone; `/api/stats` is about the whole system."""
    state = request.app.state
    ready = deps.intake.connected and not state.stopping
    return json_response(state.stats.told(ready=ready))


def _not_ready(why: str) -> Response:
    return problem(503, why, headers={"Retry-After": RETRY_SECONDS})
