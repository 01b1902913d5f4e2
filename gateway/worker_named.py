"""Workers over HTTP, by name, and how often they have to be heard."""

from datetime import timedelta

from gateway.deps import GatewayDeps
from pipeline.domain.errors import NotFound
from pipeline.ports import WorkerView


def remembered(deps: GatewayDeps) -> timedelta:
    """How long a worker that says nothing is listed."""
    return deps.lease * 2


def beat_of(deps: GatewayDeps) -> timedelta:
    """From one heartbeat of a worker to the next."""
    return deps.lease / 3


async def heard(worker: str, deps: GatewayDeps) -> WorkerView:
    """It is alive; raises `NotFound` if it is not registered (any more)."""
    view = await deps.http_workers.heard(worker, remembered(deps))
    if view is None:
        raise NotFound(f"there is no worker {worker!r} over HTTP: register (again)")
    return view
