"""What its owner asks of a schedule: make it, change it, delete it.

Each write is conditional on the schedule as it was read, fires included, and whoever loses to a
fire or to another owner reads again and decides anew: nothing is lost, neither an edit nor a fire.
Two that make one schedule under one key make it once; a crash in between leaves all or nothing.
"""

from datetime import datetime, timedelta
from typing import Any

from pydantic_core import to_json

from pipeline.domain.body import MAX_JOB_BYTES
from pipeline.domain.errors import Flaw, NotFound, Outdated, Rejected, Unavailable
from pipeline.domain.firing import ON_TIME
from pipeline.domain.identity import fingerprint
from pipeline.domain.schedule import Schedule
from pipeline.domain.schedule_edit import edited, is_retimed, new_schedule
from pipeline.ports import Clock, JobStore, ScheduleStore

_TRIES = 100
_AHEAD = 50
"""More than what is stored ahead: fires are a second apart and more (`LEAD`)."""
_PATIENCE, _PAUSE = timedelta(seconds=2), timedelta(milliseconds=50)
Versions = frozenset[int] | None
"""The versions that the caller is content with; None: any."""


async def create(schedule_id: str, body: Any, store: ScheduleStore, clock: Clock) -> Schedule:
    """The schedule, stored; the one that stands, if this body made it before.

    Raises `Rejected` if the body is none, or another one made the schedule of this id.
    """
    there = await store.get_schedule(schedule_id)
    if there is None:
        schedule = new_schedule(schedule_id, body, clock.now())
        if await store.insert_schedule(schedule):
            return schedule
        there = await existing(schedule_id, store)
    if not isinstance(body, dict) or fingerprint(body) != fingerprint(there.body):
        text = "was used for a schedule with another body, or one that was changed since"
        raise Rejected("conflict", Flaw("/idempotency_key", text))
    return there


async def change(
    schedule_id: str,
    patch: Any,
    versions: Versions,
    store: ScheduleStore,
    jobs: JobStore,
    clock: Clock,
) -> Schedule:
    """The schedule after a merge patch; raises `NotFound`, `Outdated`, `Rejected`.

    Once it is paused, what was stored ahead for fire times to come is cancelled.

    A fire time that has come this moment is left to the watchers first: under a changed rule nobody
    would know of it any more. If none of them is there, the change does not wait for long.
    """
    deadline = clock.monotonic() + _PATIENCE.total_seconds()
    for _ in range(_TRIES):
        before = await existing(schedule_id, store)
        _require(before, versions)
        now = clock.now()
        after = edited(before, patch, now)
        if after is before:
            return before
        _check_size(after)
        being_fired = is_retimed(before, after) and _is_being_fired(before, now)
        if being_fired and clock.monotonic() < deadline:
            await clock.sleep(_PAUSE.total_seconds())
        elif await store.replace_schedule(before, after):
            if after.spec.paused:
                await _take_back(after.id, store, jobs, clock)
            return after
    raise Unavailable("MongoDB", "the schedule would not hold still to be changed")


async def delete(
    schedule_id: str, versions: Versions, store: ScheduleStore, jobs: JobStore, clock: Clock
) -> None:
    """Delete it; its jobs stay, those for fire times to come are cancelled.

    Raises `NotFound`, `Outdated`.
    """
    for _ in range(_TRIES):
        before = await existing(schedule_id, store)
        _require(before, versions)
        if await store.delete_schedule(before):
            await _take_back(before.id, store, jobs, clock)
            return
    raise Unavailable("MongoDB", "the schedule would not hold still to be deleted")


async def existing(schedule_id: str, store: ScheduleStore) -> Schedule:
    """The schedule; raises `NotFound`."""
    schedule = await store.get_schedule(schedule_id)
    if schedule is None:
        raise NotFound(f"there is no schedule {schedule_id}")
    return schedule


async def _take_back(schedule_id: str, store: ScheduleStore, jobs: JobStore, clock: Clock) -> None:
    """Whoever pauses a schedule has seen the last of its runs begin: none of those ahead may."""
    now = clock.now()
    for job in await store.runs(schedule_id, _AHEAD, None):
        if job.fire_time is not None and job.fire_time > now:
            await jobs.cancel_waiting(job.id)


def _require(schedule: Schedule, versions: Versions) -> None:
    if versions is not None and schedule.version not in versions:
        raise Outdated(f"the schedule is at version {schedule.version} by now")


def _check_size(schedule: Schedule) -> None:
    """Each patch is small enough by itself; many of them might not be."""
    if len(to_json(schedule.body)) > MAX_JOB_BYTES:
        flaw = Flaw("", f"a schedule may have {MAX_JOB_BYTES} bytes at most")
        raise Rejected("too_large", flaw)


def _is_being_fired(schedule: Schedule, now: datetime) -> bool:
    fire_time = schedule.next_fire_at
    if fire_time is None or schedule.spec.paused or schedule.is_held:
        return False
    return now - ON_TIME <= fire_time <= now
