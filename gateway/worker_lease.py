"""A job for a worker that speaks HTTP: lease, promise, start, extend; any gateway, any step.

As a worker in Python does it (R5), with one step between: the job is promised to the request before
it is started. Whoever dies after that, gateway, connection or answer, the same request finds the
promise, starts under its lease id (which may be said twice) and gives the same answer. Before it,
nothing was started: the lease runs out and the reaper puts the job back.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.deps import GatewayDeps
from gateway.worker_named import heard, lease_of
from pipeline.domain.job import Job
from pipeline.domain.queue_share import read_share
from pipeline.domain.states import State
from pipeline.ports import Claim, Grant, Lease, Promise, WorkerView
from pipeline.telemetry import GHOSTS, LEASED, STARTED

_FIRST, _LONGEST = 0.01, 0.25
"""Seconds between two looks: they double, and are cut short when a delayed job is known."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request for work: of whom, which one, and for how long it is worth waiting."""

    worker: str
    name: str
    wait: float


async def next_job(
    request: Request, deps: GatewayDeps, is_gone: Callable[[], Awaitable[bool]]
) -> Job | None:
    """A job that now runs at this worker, for a whole lease from now; None if there was none.

    `is_gone`: nobody waits for the answer any more, so nothing is leased. Raises `NotFound` for a
    worker that is not registered.
    """
    worker = await heard(request.worker, None, deps)
    if (job := await _kept(request, deps)) is not None:
        return job
    clock, step = deps.clock, _FIRST
    deadline, heard_at = clock.monotonic() + request.wait, clock.monotonic()
    while not await is_gone():
        looked = await _look(request, worker, deps)
        left = deadline - clock.monotonic()
        if looked.job is not None or left <= 0:
            return looked.job
        await clock.sleep(max(0.0, min(step, left, looked.again_in)))
        step = min(step * 2, _LONGEST)
        if clock.monotonic() - heard_at >= deps.lease.total_seconds() / 3:
            heard_at = clock.monotonic()
            worker = await heard(request.worker, None, deps)
    return None


@dataclass(frozen=True, slots=True)
class _Looked:
    """A job, or in how many seconds one becomes due."""

    job: Job | None = None
    again_in: float = _LONGEST


async def _kept(request: Request, deps: GatewayDeps) -> Job | None:
    """The job that this request was promised, unless that is over."""
    promise = await deps.http_workers.promised(request.worker, request.name)
    if promise is None:
        return None
    job = await _start(promise, deps)
    if job is None:
        await deps.http_workers.forget(promise)
    return job


async def _look(request: Request, worker: WorkerView, deps: GatewayDeps) -> _Looked:
    again_in = _LONGEST
    for queue in _in_turn(worker, deps):
        promise, grant = await _lease(queue, request, deps)
        if promise is None:
            again_in = min(again_in, _until_next(grant))
        elif (job := await _keep(promise, deps)) is not None:
            return _Looked(job)
        else:
            again_in = 0.0  # a ghost: there may be a job behind it
    return _Looked(None, again_in)


def _in_turn(worker: WorkerView, deps: GatewayDeps) -> list[str]:
    """Its queues, by lot: one of weight 3 is three times as often before one of weight 1."""
    weights = _weights_of(worker.extra)
    return sorted(
        worker.queues, key=lambda name: deps.chance.lot() ** (1 / weights.get(name, 1)),
        reverse=True,
    )  # fmt: skip


def _weights_of(extra: Mapping[str, str]) -> dict[str, int]:
    told = extra.get("weights", "")
    return dict(read_share(each) for each in told.split(",") if each)


async def _lease(queue: str, request: Request, deps: GatewayDeps) -> tuple[Promise | None, Grant]:
    """What can be promised: one leased job, if there is one. A new lease id for every call."""
    lease_id = deps.chance.token()
    grant = await deps.queue.lease(
        queue, worker=request.worker, lease_id=lease_id, limit=1, ttl=deps.lease
    )
    if not grant.job_ids:
        return None, grant
    LEASED.labels(queue).inc()
    (job_id,) = grant.job_ids
    at = grant.judged_at
    return Promise(request.worker, request.name, queue, job_id, lease_id, at), grant


async def _keep(promise: Promise, deps: GatewayDeps) -> Job | None:
    """Start what stands for this request. It may be another's: the same request, sent again while
    this one still waits here, has found a job first; then ours goes back unstarted."""
    stands = await deps.http_workers.promise(promise, deps.lease)
    if stands != promise:
        await _return(promise, deps)
        return await _start(stands, deps)
    job = await _start(promise, deps)
    if job is None:
        GHOSTS.labels(promise.queue).inc()
        await _return(promise, deps)
        await deps.http_workers.forget(promise)
    return job


async def _start(promise: Promise, deps: GatewayDeps) -> Job | None:
    """Win it in MongoDB (R5), or find it won under this lease id; then the lease begins anew (R8):
    one that had run out since is written again, as a heartbeat would."""
    claim = Claim(
        queue=promise.queue,
        lease_id=promise.lease_id,
        worker=promise.worker,
        judged_at=promise.judged_at,
        started_at=deps.clock.now(),
    )
    won = await deps.store.start([promise.job_id], claim)
    if not won:
        return None
    (job,) = won
    await deps.queue.extend([lease_of(job)], deps.lease)
    STARTED.labels(promise.queue).inc()
    return job


async def _return(promise: Promise, deps: GatewayDeps) -> None:
    """Back if it still waits in this queue, else away, under its own lease only (H10, H13)."""
    lease = Lease(promise.job_id, promise.queue, promise.worker, promise.lease_id)
    job = await deps.store.get(promise.job_id)
    if job is not None and _waits(job, promise.queue, deps.clock.now()):
        await deps.queue.give_back([(lease, job.entry)])
    else:
        await deps.queue.forgo([lease])


def _waits(job: Job, queue: str, now: datetime) -> bool:
    is_expired = job.expires_at is not None and job.expires_at <= now
    return job.state is State.QUEUED and job.queue == queue and not is_expired


def _until_next(grant: Grant) -> float:
    if grant.next_due_at is None:
        return _LONGEST
    return (grant.next_due_at - grant.judged_at).total_seconds()
