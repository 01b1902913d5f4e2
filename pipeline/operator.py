"""What a person asks of one job: cancel it, redrive it, bury it.

Each is decided on one document, so each may race with a start, an end, a reap and with itself.
Whoever loses the race reads again: nothing is answered from a state that has already passed.
"""

from contextlib import suppress

from pipeline.domain.errors import Conflict, NotFound, Unavailable
from pipeline.domain.execution import Cancelled, conclude
from pipeline.domain.job import Job
from pipeline.domain.states import FINAL_STATES, State
from pipeline.ports import Clock, JobStore, LeaseQueue


async def cancel(job_id: str, store: JobStore, clock: Clock) -> Job:
    """Cancel a job, also while it runs (its worker stops it at the next heartbeat).

    Raises `NotFound`, or `Conflict` if it had already succeeded or died. A cancel that finds the
    job moved on reads again until the job is final (H9): a start may win between our look and our
    write, and the record of a failed attempt may stand where ours should have gone.
    """
    while True:
        job = await _existing(job_id, store)
        if job.state is State.CANCELLED:
            return job
        if job.state in FINAL_STATES:
            raise Conflict(f"the job is already {job.state}")
        if job.state is State.RUNNING:
            await _cancel_running(job, store, clock)
        else:
            await store.cancel_waiting(job_id)


async def _cancel_running(job: Job, store: JobStore, clock: Clock) -> None:
    record = conclude(job, Cancelled(), finished_at=clock.now(), lot=0.0)
    standing = await store.record([record])
    await store.settle(standing)


async def redrive(job_id: str, store: JobStore, queue: LeaseQueue) -> Job:
    """Send a dead or cancelled job back to `pending`, due now; raises `NotFound`, `Conflict`."""
    if not await store.redrive(job_id):
        job = await _existing(job_id, store)
        raise Conflict(f"only a dead or cancelled job can be retried; this one is {job.state}")
    with suppress(Unavailable):  # without Redis's help the dispatcher finds it at its next poll
        await queue.wake_dispatcher()
    return await _existing(job_id, store)


async def bury(job_id: str, store: JobStore) -> None:
    """Delete a job that is not running, with its executions; raises `NotFound`, `Conflict`."""
    await _existing(job_id, store)
    if not await store.bury(job_id):
        raise Conflict("the job is running: cancel it first")


async def _existing(job_id: str, store: JobStore) -> Job:
    job = await store.get(job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job
