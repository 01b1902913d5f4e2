"""What an owner does to a schedule: ask for it, and change it.

A change is a JSON Merge Patch (RFC 7396) of what the user wrote, and the whole is checked again. A
changed rule counts from the moment of the change: its next fire time is the first after now and
after all that were decided on (R13). The same holds at the end of a pause, so that the fires of a
pause are no misfires. Any other change leaves the fires as they are. Pure.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from pipeline.domain.body import flaws_of
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.instants import whole_ms_down
from pipeline.domain.merge_patch import merged
from pipeline.domain.schedule import JOB_TIMES, Schedule, ScheduleSpec

_TIMING = ("cron", "every", "timezone", "start_at", "end_at", "gap", "repeat")


def read_schedule(body: Any) -> ScheduleSpec:
    """The spec in a checked JSON value; raises `Rejected` (`invalid`) with every flaw."""
    if not isinstance(body, dict):
        raise Rejected("invalid", Flaw("", "a schedule is a JSON object"))
    try:
        return ScheduleSpec.model_validate(body)
    except ValidationError as error:
        flaws = [placed for flaw in flaws_of(error, body) for placed in _placed(flaw, body)]
        raise Rejected("invalid", *flaws) from None


def new_schedule(schedule_id: str, body: Any, now: datetime) -> Schedule:
    """A schedule that is not stored yet; raises `Rejected` if it would never fire."""
    spec, at = read_schedule(body), whole_ms_down(now)
    schedule = Schedule(schedule_id, spec, body, at, at, version=1, next_fire_at=None)
    schedule = _timed(schedule, at)
    if schedule.next_fire_at is None:
        pointer = "/cron" if spec.end_at is None else "/end_at"
        raise Rejected("invalid", Flaw(pointer, "it would never fire: no fire time is left"))
    return schedule


def edited(schedule: Schedule, patch: Any, now: datetime) -> Schedule:
    """The schedule after a change; itself if the patch changes nothing. Raises `Rejected`."""
    body = merged(schedule.body, patch)
    if body == schedule.body:
        return schedule
    after = replace(
        schedule,
        spec=read_schedule(body),
        body=body,
        version=schedule.version + 1,
        updated_at=whole_ms_down(now),
    )
    if is_retimed(schedule, after) or (schedule.spec.paused and not after.spec.paused):
        return _timed(after, now)
    return after


def is_retimed(before: Schedule, after: Schedule) -> bool:
    """Whether the two fire at different times, as far as their rules say."""
    return any(getattr(before.spec, name) != getattr(after.spec, name) for name in _TIMING)


def _timed(schedule: Schedule, now: datetime) -> Schedule:
    """It fires from now on. `H` is drawn from the id, so only here it may turn out impossible:
    `0 0 H(28-31) 2 *` is a date for some ids alone."""
    try:
        next_fire_at = schedule.next_after(now)
    except ValueError as error:
        raise Rejected("invalid", Flaw("/cron", str(error))) from None
    return replace(schedule, next_fire_at=next_fire_at, is_held=False)


def _placed(flaw: Flaw, body: dict[str, Any]) -> list[Flaw]:
    """A job with times of its own is refused as a whole: name the times."""
    if flaw.pointer != "/job" or not isinstance(body.get("job"), dict):
        return [flaw]
    times = [name for name in JOB_TIMES if body["job"].get(name) is not None]
    return [Flaw(f"/job/{name}", flaw.detail) for name in times] or [flaw]
