"""Every index, as data, and what it is for.

Each index on `jobs` that contains the state is rewritten at every step of every job, so they are
few, and partial: a job is in the index of the state it is in and in no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from pipeline.domain.job import Kind
from pipeline.domain.states import FINAL_STATES, VISIBLE_STATES, State
from pipeline.store.connect import Database, translated

_WAITING = [State.PENDING.value, State.QUEUED.value]
_NEWEST_FIRST = [("created_at", DESCENDING), ("_id", DESCENDING)]
LISTED_STATES = frozenset({State.PENDING, State.DEAD, State.CANCELLED})
"""Those whose jobs are many and old among many others. A job that is born queued and succeeds is in
none of them and pays nothing; the few that are queued or running have an index already."""
USUAL_QUEUE, USUAL_KIND = "default", Kind.TASK
"""What most jobs have is found without an index, so those jobs pay for none."""
_OTHER_KINDS = sorted(kind.value for kind in Kind if kind is not USUAL_KIND)

# Named where they are read: a list says which index it goes by.
BY_CREATION, BY_STATE, BY_NAME, BY_TAG = "by_creation", "by_state", "by_name", "by_tag"
BY_QUEUE, BY_KIND, OF_SCHEDULE = "by_queue", "by_kind", "of_schedule_by_creation"
QUEUED_BY_TIME, RUNNING_BY_TIME = "queued_by_time", "running_by_time"
FINAL_BY_END, BURIED_BY_TIME = "final_by_end", "buried_by_time"
_UNFINISHED = sorted(state.value for state in VISIBLE_STATES - FINAL_STATES)


@dataclass(frozen=True)
class Index:
    """One index: its name, its keys, which documents it holds (all), and who reads it.

    With `kept`, MongoDB deletes documents so long after the instant in the key.
    """

    name: str
    keys: list[tuple[str, int]]
    only: dict[str, Any]
    reader: str
    kept: timedelta | None = None

    @property
    def model(self) -> IndexModel:
        """As the driver wants it."""
        options: dict[str, Any] = {"partialFilterExpression": self.only} if self.only else {}
        if self.kept is not None:
            options["expireAfterSeconds"] = round(self.kept.total_seconds())
        return IndexModel(self.keys, name=self.name, **options)


JOBS = [
    Index("pending_by_due", [("due_at", ASCENDING)], {"state": State.PENDING.value}, "dispatcher"),
    Index(
        QUEUED_BY_TIME,
        [("queued_at", ASCENDING), ("_id", ASCENDING), ("created_at", ASCENDING)],
        {"state": State.QUEUED.value},
        "reconciler; sorted by their keys for lists",
    ),
    Index(
        RUNNING_BY_TIME,
        [("started_at", ASCENDING), ("_id", ASCENDING), ("created_at", ASCENDING)],
        {"state": State.RUNNING.value},
        "reconciler; sorted by their keys for lists",
    ),
    Index(
        "waiting_by_expiry",
        [("expires_at", ASCENDING)],
        {"state": {"$in": _WAITING}, "expires_at": {"$exists": True}},
        "dispatcher (R14)",
    ),
    Index(BY_CREATION, _NEWEST_FIRST, {"created_at": {"$exists": True}}, "lists"),
    Index(
        BY_STATE,
        [("state", ASCENDING), *_NEWEST_FIRST],
        {"state": {"$in": sorted(state.value for state in LISTED_STATES)}},
        "lists of pending, dead and cancelled jobs",
    ),
    Index(
        BY_NAME,
        [("spec.name", ASCENDING), *_NEWEST_FIRST],
        {"spec.name": {"$exists": True}},
        "lists by name and by the start of a name",
    ),
    Index(
        BY_TAG,
        [("spec.tags", ASCENDING), *_NEWEST_FIRST],
        {"spec.tags": {"$exists": True}},
        "lists by tag",
    ),
    Index(
        BY_QUEUE,
        [("queue", ASCENDING), *_NEWEST_FIRST],
        {"$or": [{"queue": {"$lt": USUAL_QUEUE}}, {"queue": {"$gt": USUAL_QUEUE}}]},
        "lists of every queue but the usual one",
    ),
    Index(
        BY_KIND,
        [("kind", ASCENDING), *_NEWEST_FIRST],
        {"kind": {"$in": _OTHER_KINDS}},
        "lists of every kind but the usual one",
    ),
    Index(
        OF_SCHEDULE,
        [("schedule_id", ASCENDING), *_NEWEST_FIRST],
        {"schedule_id": {"$exists": True}},
        "lists of the jobs of a schedule",
    ),
    Index(
        FINAL_BY_END,
        [("state", ASCENDING), ("finished_at", ASCENDING)],
        {"finished_at": {"$exists": True}},
        "sweeper (retention), lists of succeeded jobs where they are few",
    ),
    Index(BURIED_BY_TIME, [("buried_at", ASCENDING)], {"buried_at": {"$exists": True}}, "sweeper"),
    Index(
        "unfinished_by_schedule",
        [("schedule_id", ASCENDING), ("fire_time", ASCENDING)],
        {"schedule_id": {"$exists": True}, "state": {"$in": _UNFINISHED}},
        "scheduler (overlap); the job leaves it as it ends, and changes nothing in it before",
    ),
    Index(
        "by_schedule",
        [("schedule_id", ASCENDING), ("fire_time", DESCENDING)],
        {"schedule_id": {"$exists": True}},
        "the fires of a schedule",
    ),
]
SCHEDULES = [
    Index(
        "by_look",
        [("look_at", ASCENDING), ("_id", ASCENDING)],
        {"look_at": {"$exists": True}},
        "scheduler: ids from the index alone",
    ),
    Index("by_creation", [("created_at", DESCENDING), ("_id", DESCENDING)], {}, "lists"),
    Index(
        "by_name", [("spec.name", ASCENDING)], {"spec.name": {"$exists": True}}, "search by name"
    ),
]
SKIPPED_FIRES = [
    Index("by_schedule", [("schedule_id", ASCENDING), ("first", DESCENDING)], {}, "its fires"),
    Index("by_decision", [("decided_at", ASCENDING)], {}, "MongoDB", kept=timedelta(days=90)),
]
INDEXES: Mapping[str, Sequence[Index]] = {
    "jobs": JOBS,
    "schedules": SCHEDULES,
    "skipped_fires": SKIPPED_FIRES,
}


async def ensure_indexes(database: Database) -> None:
    """Create what is missing; safe to run in any number of processes at once."""
    with translated():
        for collection, indexes in INDEXES.items():
            await database[collection].create_indexes([index.model for index in indexes])
