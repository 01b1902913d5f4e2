"""Heartbeats, lines and results of workers that speak HTTP (R6 to R8).

A heartbeat asks MongoDB first and then writes the leases, so that a wipe of Redis heals; a result
is recorded, settled and acknowledged, in this order. Each may be said again, to another gateway:
the record that stands decides. A result for an attempt that has another record is a `Conflict`.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from gateway.deps import GatewayDeps
from gateway.found_job import find_record
from gateway.worker_calls import HeartbeatCall, LogCall, ResultCall
from gateway.worker_named import beat_of, heard
from pipeline import ending
from pipeline.domain.errors import Conflict, NotFound, Unavailable
from pipeline.domain.execution import Ending, ErrorInfo, Execution, Outcome, TimedOut, conclude
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import Attempt, Lease, LiveNote, Progress
from pipeline.telemetry import ENDED, LEASES_LOST, log

_LOG_LEASES = 3
"""Lines are kept for so many leases after the last: until somebody records the attempt."""
_SHOWN_CHARS = 16 * 1024
_AT_ONCE = 100
"""Jobs of a heartbeat that are read at a time: each may have a payload of 256 KiB."""
_log = log(__name__)


@dataclass(frozen=True, slots=True)
class Beaten:
    """What of all that a worker runs is its own, and what it has to stop."""

    is_registered: bool
    running: Sequence[Attempt]
    stop: Sequence[Attempt]


async def beat(call: HeartbeatCall, deps: GatewayDeps) -> Beaten:
    """Confirm in MongoDB, then extend. Whoever is not registered any more keeps its jobs too."""
    asked = [job.named() for job in call.jobs]
    kept: set[Attempt] = set()
    for start in range(0, len(asked), _AT_ONCE):
        kept |= await _kept(call.worker, asked[start : start + _AT_ONCE], deps)
    running = [attempt for attempt in asked if attempt in kept]
    stop = [attempt for attempt in asked if attempt not in kept]
    LEASES_LOST.inc(len(stop))
    try:
        await heard(call.worker, deps)
    except NotFound:
        return Beaten(False, running, stop)
    return Beaten(True, running, stop)


async def _kept(worker: str, asked: Sequence[Attempt], deps: GatewayDeps) -> frozenset[Attempt]:
    running = await deps.store.running(asked)
    jobs = await deps.store.get_many([attempt.job_id for attempt in asked])
    late = [jobs[one.job_id] for one in running if _is_late(jobs.get(one.job_id), deps)]
    await _time_out(late, deps)
    late_ids = {job.id for job in late}
    kept = frozenset(one for one in running if one.job_id in jobs and one.job_id not in late_ids)
    await deps.queue.extend([Lease.of(jobs[one.job_id]) for one in kept], deps.lease)
    own = [one.lease_id for one in kept if jobs[one.job_id].worker == worker]
    await deps.http_workers.runs(worker, own, (), deps.lease)
    # A result that came while we asked has given its lease up: it must not have one again.
    still = await deps.store.running(list(kept))
    over = [
        Lease(one.job_id, jobs[one.job_id].queue, worker, one.lease_id)
        for one in asked
        if one not in still and one.job_id in jobs
    ]
    if over:
        await deps.queue.ack(over)
    gone = [one.lease_id for one in asked if one not in still]
    await deps.http_workers.runs(worker, (), gone, deps.lease)
    return still


def _is_late(job: Job | None, deps: GatewayDeps) -> bool:
    """Its timeout is over, and a beat for the worker to say so itself."""
    if job is None or job.started_at is None:
        return False
    ran = deps.clock.now() - job.started_at
    return ran > timedelta(seconds=job.spec.timeout) + beat_of(deps)


async def _time_out(jobs: Sequence[Job], deps: GatewayDeps) -> None:
    for job in jobs:
        text = f"it ran for longer than {job.spec.timeout:g} s, and its worker did not stop it"
        report = await _report(Attempt.of(job), deps)
        await _end(job, TimedOut(ErrorInfo("timeout", text), report), deps)


async def write(job_id: str, call: LogCall, deps: GatewayDeps) -> None:
    """Keep what a running attempt writes; raises `Conflict` once it is lost or over."""
    attempt = Attempt(job_id, call.attempt, call.lease)
    if attempt not in await deps.store.running([attempt]):
        raise Conflict(f"attempt {call.attempt} of job {job_id} does not run under this lease")
    if call.text:
        await deps.http_workers.write_log(attempt, call.text, deps.lease * _LOG_LEASES)
    with suppress(Unavailable):  # shown while it runs; the record does not need it
        await _show(attempt, call, deps)


async def _show(attempt: Attempt, call: LogCall, deps: GatewayDeps) -> None:
    """What the running attempt has told: the new progress, or the last, and the end of its log."""
    name = (attempt.job_id, attempt.attempt)
    before = (await deps.live.told([name])).get(name, LiveNote())
    progress = before.progress if call.progress is None else Progress(call.progress, call.note)
    written = await deps.http_workers.log(attempt)
    note = LiveNote(progress, written[-_SHOWN_CHARS:])
    await deps.live.tell({name: note}, deps.lease * _LOG_LEASES)


async def finish(job_id: str, call: ResultCall, deps: GatewayDeps) -> Execution:
    """The record of the attempt, which is this result's; raises `NotFound`, `Conflict`.

    The same result again, after a lost answer, is no conflict.
    """
    job = await deps.store.get(job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    attempt = Attempt(job_id, call.attempt, call.lease)
    offered = call.ending(await _report(attempt, deps))
    expected = conclude(job, offered, finished_at=deps.clock.now(), lot=0.0).outcome
    stands = await _standing(job, attempt, offered, deps)
    if stands is None or stands.lease_id != call.lease:
        raise _refused(attempt, call.outcome, stands)
    await _free_place(stands, deps)
    if stands.outcome is not expected:
        await _note_late(stands, expected, deps)
        raise _refused(attempt, call.outcome, stands)
    return stands


async def _standing(
    job: Job, attempt: Attempt, offered: Ending, deps: GatewayDeps
) -> Execution | None:
    """The record of an attempt that runs, made of what is offered; else the one that there is."""
    if _runs(job, attempt):
        return await _end(job, offered, deps)
    return await find_record(job.id, attempt.attempt, deps)


async def _note_late(stands: Execution, outcome: Outcome, deps: GatewayDeps) -> None:
    """Offer it all the same: the store notes it beside the record that stands."""
    late = replace(stands, outcome=outcome, finished_at=deps.clock.now(), result=None, report={})
    with suppress(Unavailable):
        await deps.store.record([late])


async def _free_place(stands: Execution, deps: GatewayDeps) -> None:
    """It does not run any more. Were this lost, the place is free when the lease has run out."""
    if stands.worker is not None and stands.lease_id is not None:
        with suppress(Unavailable):
            await deps.http_workers.runs(stands.worker, (), [stands.lease_id], deps.lease)


def _runs(job: Job, attempt: Attempt) -> bool:
    return job.state is State.RUNNING and Attempt.of(job) == attempt


async def _end(job: Job, how: Ending, deps: GatewayDeps) -> Execution:
    execution = conclude(job, how, finished_at=deps.clock.now(), lot=deps.chance.lot())
    (stands,) = await ending.end([execution], [Lease.of(job)], deps.store, deps.queue)
    if stands.outcome is execution.outcome:
        ENDED.labels(job.queue, stands.outcome).inc()
    return stands


async def _report(attempt: Attempt, deps: GatewayDeps) -> dict[str, Any]:
    """What it has written, and how far it came; a result must not wait for that."""
    report, name = dict[str, Any](), (attempt.job_id, attempt.attempt)
    with suppress(Unavailable):
        if written := await deps.http_workers.log(attempt):
            report["stdout"] = written
        if told := (await deps.live.told([name])).get(name):
            report |= {"progress": told.report()["progress"]} if told.progress else {}
    return report


def _refused(attempt: Attempt, offered: str, stands: Execution | None) -> Conflict:
    LEASES_LOST.inc()
    outcome = "nothing" if stands is None else stands.outcome.value
    _log.warning("record.refused", execution=f"{attempt.job_id}/{attempt.attempt}",
                 offered=offered, stands=outcome, next="what stands decides")  # fmt: skip
    return Conflict(
        f"attempt {attempt.attempt} of job {attempt.job_id} is not this worker's (any more): "
        f"{outcome} is recorded"
    )
