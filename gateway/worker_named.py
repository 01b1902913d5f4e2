"""Workers over HTTP and what they hold, by name."""

from dataclasses import replace
from datetime import timedelta

from gateway.deps import GatewayDeps
from pipeline.domain.errors import NotFound
from pipeline.domain.job import Job
from pipeline.ports import Lease, WorkerView


def remembered(deps: GatewayDeps) -> timedelta:
    """How long a worker that says nothing is listed."""
    return deps.lease * 2


async def heard(worker: str, deps: GatewayDeps) -> WorkerView:
    """It is alive; raises `NotFound` if it is not registered (any more)."""
    view = await deps.http_workers.heard(worker, remembered(deps))
    if view is None:
        raise NotFound(f"there is no worker {worker!r} over HTTP: register (again)")
    return view


def lease_of(job: Job) -> Lease:
    """The lease under which this job runs."""
    assert job.worker is not None
    assert job.lease_id is not None
    lease = Lease(job.id, job.queue, job.worker, job.lease_id)
    limit = job.spec.limits
    return lease if limit is None else replace(lease, limit_key=limit.key)
