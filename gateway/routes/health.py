"""What this process says about itself: alive, ready, metrics, its own counts."""

import os
import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from gateway.deps import Deps
from gateway.problems import RETRY_SECONDS, problem
from gateway.rendering import instant, json_response
from pipeline.telemetry import REGISTRY

router = APIRouter(tags=["process"])
_INDEX = """\
DueQ gateway
  POST /api/jobs            submit a job
  GET  /api/jobs            list jobs
  GET  /openapi.json        everything else
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
    return json_response(
        {
            "role": "gateway",
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "version": _version(),
            "started_at": instant(state.started_at),
            "uptime": round(deps.clock.monotonic() - state.started, 3),
            "ready": deps.intake.connected and not state.stopping,
            "counters": _counters(),
        }
    )


def _not_ready(why: str) -> Response:
    return problem(503, why, headers={"Retry-After": RETRY_SECONDS})


def _counters() -> dict[str, Any]:
    """By name, then by labels where there are any: as every process of DueQ tells them."""
    found: dict[str, Any] = {}
    for family in REGISTRY.collect():
        if family.type not in ("counter", "gauge"):
            continue
        name = family.name.removeprefix("dueq_")
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            if sample.labels:
                found.setdefault(name, {})["/".join(sample.labels.values())] = sample.value
            else:
                found[name] = sample.value
    return found


def _version() -> str:
    try:
        return version("dueq")
    except PackageNotFoundError:
        return "unknown"
