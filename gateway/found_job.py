"""The job of a path, the record of one of its attempts, and what it tells while it runs."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from gateway.deps import GatewayDeps
from gateway.path_id import canonical
from gateway.patience import appears
from pipeline.domain.errors import NotFound, Unavailable
from pipeline.domain.execution import Execution
from pipeline.domain.identity import born_at
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import LiveNote


async def find_job(job_id: str, deps: GatewayDeps) -> Job:
    """The job; one whose id was made a moment ago may still be on its way (RabbitMQ, ingest)."""
    wanted = canonical(job_id, "job")
    within = deps.limits.readable_within if _is_young(wanted, deps) else timedelta(0)
    job = await appears(lambda: deps.store.get(wanted), within, deps.clock)
    if job is None:
        raise NotFound(f"there is no job {wanted}")
    return job


def _is_young(job_id: str, deps: GatewayDeps) -> bool:
    """Measured against an id of our own: UUIDv7 carry their maker's wall clock, and that may be
    minutes away from MongoDB's, which is what `Clock` tells (R11)."""
    born, now = born_at(job_id), born_at(deps.chance.job_id())
    return born is not None and now is not None and abs(now - born) < deps.limits.young


async def find_record(job_id: str, attempt: int, deps: GatewayDeps) -> Execution | None:
    """How this attempt ended; None while it has not. They are numbered from 1."""
    if attempt == 0:
        return None
    name = (job_id, attempt)
    return (await deps.store.executions_by_id([name])).get(name)


def running_attempt(job: Job) -> int | None:
    """The attempt that has no record yet."""
    return job.attempt if job.state is State.RUNNING else None


async def told(
    attempts: Sequence[tuple[str, int]], deps: GatewayDeps
) -> Mapping[tuple[str, int], LiveNote]:
    """What these attempts tell. Without Redis a job is shown all the same."""
    try:
        return await deps.live.told(attempts)
    except Unavailable:
        return {}
