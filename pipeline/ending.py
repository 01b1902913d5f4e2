"""The end of attempts: record → settle → ack, in this order, whoever does it.

The record decides (R6), the job document follows from it (R7), Redis comes last. A crash after the
record leaves a job `running` with its execution there: the reaper inserts `lost`, meets the record
that stands and settles by that. A crash after the settle leaves a lease of a job that is no longer
running: the reaper removes it. So every step may be repeated by anyone.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.domain.errors import Unavailable
from pipeline.domain.execution import Execution
from pipeline.domain.job import Job
from pipeline.domain.states import TRANSITIONS, State
from pipeline.ports import SOON, JobStore, Lease, LeaseQueue, LiveNotes, Place
from pipeline.telemetry import log

_log = log(__name__)


async def end(
    executions: Sequence[Execution], leases: Sequence[Lease], store: JobStore, queue: LeaseQueue
) -> Sequence[Execution]:
    """Record, settle by what stands, then acknowledge `leases`; returns what stands, in order.

    Raises `Unavailable` or `UnknownOutcome` of the store only: call again with the same arguments.
    """
    standing = await store.record(executions)
    await store.settle(standing)
    await _leave(standing, leases, queue)
    return standing


async def told_by(running: Sequence[Job], notes: LiveNotes) -> Mapping[str, dict[str, Any]]:
    """What the attempts of these jobs have told by now, by job id: for a record that ends them in
    their worker's place. As far as Redis has it; an end must not wait for that."""
    try:
        told = await notes.told([(job.id, job.attempt) for job in running])
    except Unavailable:
        return {}
    return {job_id: note.report() for (job_id, _), note in told.items()}


async def nudge(cancelled: Iterable[Job], queue: LeaseQueue) -> bool:
    """Tell the workers that run these to stop them now. A hint: without Redis's help each of them
    notices with its next heartbeat. Whether Redis was there to hear it."""
    try:
        for worker in {job.worker for job in cancelled if job.worker is not None}:
            await queue.nudge(worker)
    except Unavailable:
        return False
    return True


async def call_off(cancelled: Job, queue: LeaseQueue) -> None:
    """`nudge` and `withdraw`, at the same time: a Redis that hangs is waited for once."""
    await asyncio.gather(nudge([cancelled], queue), withdraw([cancelled], queue))


async def withdraw(ended: Iterable[Job | Place], queue: LeaseQueue) -> bool:
    """Take these, of which nothing more shall run, out of where they wait. A hint, too: who leases
    one is refused its start, but a thousand of them hold up what is behind them at a limit.
    Whether Redis was there to hear it."""
    waiting = defaultdict[str, list[str]](list)
    for job in ended:
        waiting[job.queue].append(job.id)
    try:
        for name, job_ids in waiting.items():
            await queue.withdraw(name, job_ids)
    except Unavailable:
        return False
    return True


async def _leave(standing: Sequence[Execution], leases: Sequence[Lease], queue: LeaseQueue) -> None:
    """Tell Redis. The truth is written: what fails here is mended by reaper and dispatcher."""
    try:
        await queue.ack(leases)
        if any(_is_soon_due(execution) for execution in standing):
            await queue.wake_dispatcher()
    except Unavailable as error:
        _log.warning("ack.failed", error=str(error), next="the reaper removes the leases")


def _is_soon_due(execution: Execution) -> bool:
    decision = execution.decision
    leads_to = TRANSITIONS[State.RUNNING, decision.event]
    return leads_to is State.PENDING and decision.delay <= SOON
