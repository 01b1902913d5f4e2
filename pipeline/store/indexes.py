"""Every index, as data, and what it is for.

Each index on `jobs` that contains the state is rewritten at every step of every job, so they are
few, and partial: a job is in the index of the state it is in and in no other.
"""

from dataclasses import dataclass
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from pipeline.domain.states import State
from pipeline.store.connect import Database, translated

_WAITING = [State.PENDING.value, State.QUEUED.value]
_FAILED = [State.DEAD.value, State.CANCELLED.value]


@dataclass(frozen=True)
class Index:
    """One index: its name, its keys, which documents it holds, and who reads it."""

    name: str
    keys: list[tuple[str, int]]
    only: dict[str, Any]
    reader: str


JOBS = [
    Index("pending_by_due", [("due_at", ASCENDING)], {"state": State.PENDING.value}, "dispatcher"),
    Index(
        "queued_by_time",
        [("queued_at", ASCENDING), ("_id", ASCENDING)],
        {"state": State.QUEUED.value},
        "reconciler",
    ),
    Index(
        "running_by_time",
        [("started_at", ASCENDING), ("_id", ASCENDING)],
        {"state": State.RUNNING.value},
        "reconciler",
    ),
    Index(
        "waiting_by_expiry",
        [("expires_at", ASCENDING)],
        {"state": {"$in": _WAITING}, "expires_at": {"$exists": True}},
        "dispatcher (R14)",
    ),
    Index(
        "by_creation",
        [("created_at", DESCENDING), ("_id", DESCENDING)],
        {"created_at": {"$exists": True}},
        "lists",
    ),
    Index(
        "failed_by_creation",
        [("state", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)],
        {"state": {"$in": _FAILED}},
        "lists of dead and cancelled jobs",
    ),
    Index(
        "buried_by_time", [("buried_at", ASCENDING)], {"buried_at": {"$exists": True}}, "sweeper"
    ),
]


async def ensure_indexes(database: Database) -> None:
    """Create what is missing; safe to run in any number of processes at once."""
    models = [
        IndexModel(index.keys, name=index.name, partialFilterExpression=index.only)
        for index in JOBS
    ]
    with translated():
        await database.jobs.create_indexes(models)
