"""Schedules and what was skipped of them as MongoDB documents, and back; nothing else.

`schedules` `_id` is the schedule's id, `spec` is what the user asked for, word for word. What is
None is left out; `look_at` is there only while a watcher has to look at it. `skipped_fires` `_id`
is `<schedule id>/<first fire time, Unix ms>`.
"""

from datetime import datetime

from pydantic import ValidationError

from pipeline.domain.firing import Plan, Skip, SkipReason
from pipeline.domain.instants import to_ms
from pipeline.domain.job import JobSpec
from pipeline.domain.schedule import Schedule, ScheduleSpec
from pipeline.ports import Skipped
from pipeline.store.connect import Document
from pipeline.store.documents import UNREADABLE

_UNREADABLE_SPEC = ScheduleSpec(every=86_400, paused=True, job=JobSpec(task=UNREADABLE))
"""Stands for the spec of another version: it never fires here."""
_OPTIONAL = ("next_fire_at", "fired_until", "look_at")


def from_schedule(schedule: Schedule) -> Document:
    """The document of a schedule as its owners write it."""
    document: Document = {
        "_id": schedule.id,
        "spec": schedule.body,
        "created_at": schedule.created_at,
        "updated_at": schedule.updated_at,
        "version": schedule.version,
        "next_fire_at": schedule.next_fire_at,
        "fired_until": schedule.fired_until,
        "is_held": schedule.is_held,
        "look_at": schedule.look_at,
    }
    return {name: value for name, value in document.items() if value is not None}


def to_schedule(document: Document) -> Schedule:
    """The schedule in a document; one of another version is there to be seen and never fires."""
    return Schedule(
        id=document["_id"],
        spec=_spec_of(document),
        body=document["spec"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        version=document["version"],
        next_fire_at=document.get("next_fire_at"),
        fired_until=document.get("fired_until"),
        is_held=document["is_held"],
    )


def is_readable(schedule: Schedule) -> bool:
    """Whether this version understands what was asked for."""
    return schedule.spec is not _UNREADABLE_SPEC


def _spec_of(document: Document) -> ScheduleSpec:
    try:
        return ScheduleSpec.model_validate(document["spec"])
    except ValidationError:
        return _UNREADABLE_SPEC


def mark_of(before: Schedule) -> Document:
    """The condition that it still stands as it was read: owners change the version, fires the
    other two."""
    return {
        "_id": before.id,
        "version": before.version,
        "next_fire_at": before.next_fire_at,
        "is_held": before.is_held,
    }


def move_on(plan: Plan, look_at: datetime | None) -> Document:
    """The update that a decided plan makes of it."""
    values = (plan.next_fire_at, plan.fired_until, look_at)
    named = dict(zip(_OPTIONAL, values, strict=True))
    change: Document = {"$set": {"is_held": plan.is_held}}
    for name, value in named.items():
        if value is None:
            change.setdefault("$unset", {})[name] = ""
        else:
            change["$set"][name] = value
    return change


def from_skip(schedule_id: str, skip: Skip, decided_at: datetime) -> Document:
    """The document of fire times that got no job."""
    return {
        "_id": f"{schedule_id}/{to_ms(skip.first)}",
        "schedule_id": schedule_id,
        "first": skip.first,
        "last": skip.last,
        "reason": skip.reason.value,
        "decided_at": decided_at,
    }


def to_skipped(document: Document) -> Skipped:
    """What was written down of them."""
    return Skipped(
        schedule_id=document["schedule_id"],
        first=document["first"],
        last=document["last"],
        reason=SkipReason(document["reason"]),
        decided_at=document["decided_at"],
    )
