"""What a person asks of one job: cancel it, change it, run it now, redrive it, bury it.

Each is decided on one document, so each may race with a start, an end, a reap and with itself.
Whoever loses the race reads again: nothing is answered from a state that has already passed.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pipeline.domain.errors import Conflict, NotFound, Outdated, Unavailable
from pipeline.domain.execution import Cancelled, conclude
from pipeline.domain.job import Job
from pipeline.domain.job_change import changed
from pipeline.domain.pauses import growing
from pipeline.domain.states import FINAL_STATES, Event, State, sources_of
from pipeline.ending import told_by
from pipeline.ports import NOTHING_TOLD, SOON, Clock, JobStore, LeaseQueue, LiveNotes

_LOOKS, _AT_ONCE = 20, 6
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
"""Seconds; all looks together take about four."""

_CLOCKS_APART = timedelta(milliseconds=50)
"""Between MongoDB's clock and what we reckon it to be: due by the one is due by the other."""

_MOVED = "the job has changed since you read it"

Meant = Callable[[Job], Awaitable[bool]]
"""Whether the job that stands is the one that the caller has read; None: whatever stands is."""


async def cancel(
    job_id: str,
    store: JobStore,
    clock: Clock,
    is_meant: Meant | None = None,
    notes: LiveNotes = NOTHING_TOLD,
) -> Job:
    """Cancel a job, also while it runs (its worker stops it at the next heartbeat, or
    when it is nudged).

    Raises `NotFound`, or `Conflict` if it had already succeeded or died. A cancel that finds the
    job moved on reads again until the job is final (H9): a start may win between our look and our
    write, and the record of a failed attempt may stand where ours should have gone. At once a few
    times, then with pauses; `Unavailable` when it moves on and on, or will not move at all.
    What a running attempt had told by then (`notes`) stands in its record.
    With `is_meant`, `Outdated` once the job that stands is not the one that was read.
    """
    for look in range(_LOOKS):
        await _pause_before(look, clock)
        job = await _existing(job_id, store)
        if look > 0 and job.state is State.CANCELLED:
            return job  # by us, most likely: it is not what was read any more
        await _check(job, is_meant)
        if job.state is State.CANCELLED:
            return job
        if job.state in FINAL_STATES:
            raise Conflict(f"the job is already {job.state}")
        if job.state is State.RUNNING:
            await _cancel_running(job, store, clock, notes)
        else:
            await store.cancel_waiting(job_id, None if is_meant is None else job)
    raise Unavailable("MongoDB", "the job would not hold still to be cancelled")


async def _cancel_running(job: Job, store: JobStore, clock: Clock, notes: LiveNotes) -> None:
    told = await told_by([job], notes)
    ending = Cancelled(told.get(job.id, {}))
    record = conclude(job, ending, finished_at=clock.now(), lot=0.0)
    standing = await store.record([record])
    await store.settle(standing)


async def change(
    job_id: str,
    patch: Any,
    store: JobStore,
    queue: LeaseQueue,
    clock: Clock,
    is_meant: Meant | None = None,
) -> Job:
    """Apply a JSON Merge Patch to a job that waits; the job as it was written.

    Raises `NotFound`, `Outdated` if `is_meant` says so of the job that stands, `Conflict` once it
    runs or has ended, `Rejected` if the result is no job. The write holds only for what was read;
    whoever came between (dispatch, start, another change) makes us read and apply the patch again:
    a change that is lost would be one that somebody was told had been made.
    """
    for look in range(_LOOKS):
        await _pause_before(look, clock)
        job = await _existing(job_id, store)
        await _check(job, is_meant)
        if job.state not in sources_of(Event.CHANGE):
            raise Conflict(f"only a job that waits can be changed; this one is {job.state}")
        after = changed(job, patch, clock.now())
        if after is job:
            return job
        if await store.change(job, after):
            await _announce(after, queue, clock)
            return after
    raise Unavailable("MongoDB", "the job would not hold still to be changed")


async def run_now(
    job_id: str,
    store: JobStore,
    queue: LeaseQueue,
    clock: Clock,
    is_meant: Meant | None = None,
) -> Job:
    """Make a job that waits due now; one that is due already is left as it is.

    Raises `NotFound`, `Outdated` if `is_meant` says so, or `Conflict` once it runs or has ended. In
    Redis it may still wait for its old time: the dispatcher puts it there anew, in place of that.
    """
    for look in range(_LOOKS):
        await _pause_before(look, clock)
        if await store.hasten(job_id, await _read(job_id, store, is_meant)):
            with suppress(Unavailable):
                await queue.wake_dispatcher()
            return await _existing(job_id, store)
        job = await _existing(job_id, store)
        if job.state not in sources_of(Event.CHANGE):
            raise Conflict(f"only a job that waits can be made due; this one is {job.state}")
        if job.due_at <= clock.now() + _CLOCKS_APART:
            return job
    raise Unavailable("MongoDB", "the job would not hold still to be made due")


async def _announce(job: Job, queue: LeaseQueue, clock: Clock) -> None:
    """A dispatcher looks at once if it is due soon; without Redis it does at its next poll."""
    if job.due_at <= clock.now() + SOON:
        with suppress(Unavailable):
            await queue.wake_dispatcher()


async def redrive(
    job_id: str, store: JobStore, queue: LeaseQueue, is_meant: Meant | None = None
) -> Job:
    """Send a dead or cancelled job back to `pending`, due now.

    Raises `NotFound`, `Conflict`, or `Outdated` if it is not the one that was read.
    """
    read = await _read(job_id, store, is_meant)
    if not await store.redrive(job_id, read):
        job = await _existing(job_id, store)
        _check_moved(read, Event.REDRIVE)
        raise Conflict(f"only a dead or cancelled job can be retried; this one is {job.state}")
    with suppress(Unavailable):  # without Redis's help the dispatcher finds it at its next poll
        await queue.wake_dispatcher()
    return await _existing(job_id, store)


async def bury(job_id: str, store: JobStore, is_meant: Meant | None = None) -> None:
    """Delete a job that is not running, with its executions.

    Raises `NotFound`, `Conflict`, or `Outdated` if it is not the one that was read.
    """
    await _existing(job_id, store)
    read = await _read(job_id, store, is_meant)
    if not await store.bury(job_id, read):
        _check_moved(read, Event.BURY)
        raise Conflict("the job is running: cancel it first")


async def _read(job_id: str, store: JobStore, is_meant: Meant | None) -> Job | None:
    """The job that the write is to hold for, if the caller has read one; raises `Outdated`."""
    if is_meant is None:
        return None
    job = await _existing(job_id, store)
    await _check(job, is_meant)
    return job


async def _check(job: Job, is_meant: Meant | None) -> None:
    if is_meant is not None and not await is_meant(job):
        raise Outdated(_MOVED)


def _check_moved(read: Job | None, event: Event) -> None:
    """What was read could be moved, and what stands was not: somebody came in between."""
    if read is not None and read.state in sources_of(event):
        raise Outdated(_MOVED)


async def _pause_before(look: int, clock: Clock) -> None:
    if look >= _AT_ONCE:
        failures = look - _AT_ONCE + 1
        await clock.sleep(growing(failures, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE))


async def _existing(job_id: str, store: JobStore) -> Job:
    job = await store.get(job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job
