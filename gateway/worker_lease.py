"""A job for a worker that speaks HTTP: lease, promise, start, extend; any gateway, any step.

As a worker in Python does it (R5), with one step between: the job is promised to the request before
it is started. Whoever dies after that, gateway, connection or answer, the same request finds the
promise, starts under its lease id (which may be said twice) and gives the same answer. Before it,
nothing was started: the lease runs out and the reaper puts the job back.

A promise takes one of the places that its worker has (`concurrency`), for a lease at a time: who
runs as many jobs as he said is given none until one of them has ended.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from math import inf

from gateway.deps import GatewayDeps
from gateway.worker_bells import Bells, Waiter
from gateway.worker_named import beat_of, heard
from pipeline.domain.job import Job
from pipeline.domain.pauses import half_to_all
from pipeline.domain.queue_share import read_weights
from pipeline.ports import Claim, Clock, Grant, Lease, Promise, WorkerView
from pipeline.telemetry import GHOSTS, LEASED, STARTED

_POLL = 5.0
"""Seconds after which whoever waits looks without a ring, at the latest: a ring may be lost."""
_GLANCE = 1.0
"""Seconds between two looks at whether somebody still waits for the answer."""
_FULL = 0.25
"""Seconds between two looks at whether the worker has ended one of its jobs."""

IsGone = Callable[[], Awaitable[bool]]


class WorkerIsFull(Exception):
    """It runs as many jobs as it said that it would run at a time."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request for work: of whom, which one, and for how long it is worth waiting."""

    worker: str
    name: str
    wait: float


async def next_job(
    request: Request, deps: GatewayDeps, bells: Bells, is_gone: IsGone
) -> Job | None:
    """A job that now runs at this worker, for a whole lease from now; None if there was none.

    `is_gone`: nobody waits for the answer any more, so nothing is leased. Raises `NotFound` for a
    worker that is not registered, `WorkerIsFull` if it is so until the end of the wait.
    """
    worker = await heard(request.worker, deps)
    if (job := await _kept(request, deps)) is not None:
        return job
    async with bells.waiter() as waiter:
        return await _wait(request, worker, waiter, deps, is_gone)


async def _wait(
    request: Request, worker: WorkerView, waiter: Waiter, deps: GatewayDeps, is_gone: IsGone
) -> Job | None:
    """Look, then wait for a ring, the next due time or a look for safety; and say now and then
    that the worker is alive."""
    clock, beat = deps.clock, beat_of(deps).total_seconds()
    heard_at = clock.monotonic()
    deadline = heard_at + request.wait
    while not await is_gone():
        looked = await _look(request, worker, waiter, deps)
        if looked.job is not None:
            return looked.job
        if clock.monotonic() >= deadline:
            if looked.is_full:
                raise WorkerIsFull(f"worker {worker.id!r} runs {worker.concurrency} at a time")
            return None
        await _rest(waiter, min(deadline, looked.again_at, heard_at + beat), clock, is_gone)
        if clock.monotonic() >= heard_at + beat:
            heard_at = clock.monotonic()
            worker = await heard(request.worker, deps)
    return None


async def _rest(waiter: Waiter, until: float, clock: Clock, is_gone: IsGone) -> None:
    while (left := until - clock.monotonic()) > 0:
        if await waiter.wait(min(left, _GLANCE)) or await is_gone():
            return


@dataclass(frozen=True, slots=True)
class _Looked:
    """A job, or when it is worth looking again, on the clock's `monotonic`."""

    job: Job | None = None
    again_at: float = 0.0
    is_full: bool = False


async def _kept(request: Request, deps: GatewayDeps) -> Job | None:
    """The job that this request was promised, unless that is over."""
    promise = await deps.http_workers.promised(request.worker, request.name)
    if promise is None:
        return None
    job = await _start(promise, deps)
    if job is None:
        await _take_back(promise, deps)
    else:  # its lease began anew, so does its place
        await deps.http_workers.runs(promise.worker, [promise.lease_id], (), deps.lease)
    return job


async def _look(request: Request, worker: WorkerView, waiter: Waiter, deps: GatewayDeps) -> _Looked:
    """Through its queues. One that is full lets others be rung: a ring for it would go round in a
    circle."""
    if await deps.http_workers.runs(worker.id, (), (), deps.lease) >= worker.concurrency:
        return await _look_of_full(waiter, deps)
    await waiter.attend(worker.queues if request.wait else ())
    again_at = deps.clock.monotonic() + half_to_all(_POLL, deps.chance.lot())
    for queue in _in_turn(worker, deps):
        waiter.looks_at(queue)
        promise, due_at = await _lease(queue, request, deps)
        if promise is None:
            again_at = min(again_at, due_at)
            continue
        stands = await deps.http_workers.promise(promise, worker.concurrency, deps.lease)
        if stands is None:  # another request of this worker was quicker, or it has gone meanwhile
            await _return(promise, deps)
            await heard(worker.id, deps)
            return await _look_of_full(waiter, deps)
        if (job := await _keep(promise, stands, deps)) is not None:
            return _Looked(job)
        again_at = deps.clock.monotonic()  # a ghost: there may be a job behind it
    return _Looked(None, again_at)


async def _look_of_full(waiter: Waiter, deps: GatewayDeps) -> _Looked:
    await waiter.attend(())
    return _Looked(None, deps.clock.monotonic() + _FULL, is_full=True)


def _in_turn(worker: WorkerView, deps: GatewayDeps) -> list[str]:
    """Its queues, by lot: one of weight 3 is three times as often before one of weight 1."""
    weights = read_weights(worker.extra)
    return sorted(
        worker.queues, key=lambda name: deps.chance.lot() ** (1 / weights.get(name, 1)),
        reverse=True,
    )  # fmt: skip


async def _lease(queue: str, request: Request, deps: GatewayDeps) -> tuple[Promise | None, float]:
    """What can be promised, one leased job; and when the next one is due, on our own clock. A new
    lease id for every call.

    Redis judged after we had sent the call: counted from there we are rather a hair early, and look
    again, than late.
    """
    lease_id, sent_at = deps.chance.token(), deps.clock.monotonic()
    grant = await deps.queue.lease(
        queue, worker=request.worker, lease_id=lease_id, limit=1, ttl=deps.lease
    )
    if not grant.job_ids:
        return None, sent_at + _until_next(grant)
    LEASED.labels(queue).inc()
    (job_id,) = grant.job_ids
    at = grant.judged_at
    return Promise(request.worker, request.name, queue, job_id, lease_id, at), sent_at


async def _keep(promise: Promise, stands: Promise, deps: GatewayDeps) -> Job | None:
    """Start what stands for this request. It may be another's: the same request, sent again while
    this one still waits here, has found a job first; then ours goes back unstarted."""
    if stands != promise:
        await _return(promise, deps)
        return await _start(stands, deps)
    job = await _start(promise, deps)
    if job is None:
        GHOSTS.labels(promise.queue).inc()
        await _return(promise, deps)
        await _take_back(promise, deps)
    return job


async def _take_back(promise: Promise, deps: GatewayDeps) -> None:
    await deps.http_workers.forget(promise)
    await deps.http_workers.runs(promise.worker, (), [promise.lease_id], deps.lease)


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
    await deps.queue.extend([Lease.of(job)], deps.lease)
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
    return job.is_queued_in(queue) and not job.is_expired(now)


def _until_next(grant: Grant) -> float:
    if grant.next_due_at is None:
        return inf
    return (grant.next_due_at - grant.judged_at).total_seconds()
