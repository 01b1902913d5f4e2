"""What owners write about jobs: cancel, redrive, change, hasten. One conditional write each.

Many at once are one write, too, and it repeats the filter by which they were found: what has become
another job's business in between is left alone. A write with an unknown outcome may be repeated:
what was applied no longer matches.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.domain.job import Job
from pipeline.domain.states import Event, State, sources_of, target_of
from pipeline.ports import JobFilter
from pipeline.store.connect import Database, Document, translated
from pipeline.store.job_query import condition_of, in_states
from pipeline.store.transitions import from_states

_WAITING = sources_of(Event.CANCEL) - {State.RUNNING}
"""A running job is cancelled by the record of its attempt (R6), never by its state."""
_CANCEL: Document = {
    "$set": {"state": target_of(Event.CANCEL).value},
    "$currentDate": {"finished_at": True},
}
_REDRIVE: list[Document] = [
    {
        "$set": {
            "state": target_of(Event.REDRIVE).value,
            "due_at": "$$NOW",
            "failures": 0,
            "losses": 0,
        }
    },
    {"$unset": ["reason", "finished_at", "expires_at"]},
]
"""`attempt` stays, it is the fence (H24)."""


class Changes:
    """Writes to `jobs` that an owner asks for, except deleting."""

    def __init__(self, database: Database) -> None:
        self._owned = database.jobs

    # -- one -------------------------------------------------------------------------------

    async def cancel_waiting(self, job_id: str, before: Job | None = None) -> bool:
        """`pending` or `queued` → `cancelled`."""
        condition = {"_id": job_id, "$and": [{"state": in_states(_WAITING)}, as_read(before)]}
        with translated():
            result = await self._owned.update_one(condition, _CANCEL)
        return result.modified_count == 1

    async def redrive(self, job_id: str, before: Job | None = None) -> bool:
        """Back to `pending`, due now."""
        possible = {"state": from_states(Event.REDRIVE)}
        condition = {"_id": job_id, "$and": [possible, as_read(before)]}
        with translated():
            result = await self._owned.update_one(condition, _REDRIVE)
        return result.modified_count == 1

    async def change(self, before: Job, after: Job) -> bool:
        """Write what is asked for now and `pending`, if nothing has happened to it meanwhile.

        The condition names all that `after` was made from. A dispatch or a start in between changes
        the state, a retry the attempt and the due time, another change the spec or the due time:
        each makes this match nothing, and whoever asked reads again. What the change leaves behind
        in Redis is a ghost: a start asks for `queued`, this queue and the due time (H15, H27).
        """
        condition = {"_id": before.id, **as_read(before)}
        with translated():
            result = await self._owned.update_one(condition, _change(after))
        return result.matched_count == 1

    async def hasten(self, job_id: str, before: Job | None = None) -> bool:
        """Due now, if it waits for a later time."""
        condition = {
            "_id": job_id,
            "$and": [{"state": from_states(Event.CHANGE)}, as_read(before)],
            "$expr": {"$gt": ["$due_at", "$$NOW"]},
        }
        change = {"state": target_of(Event.CHANGE).value, "due_at": "$$NOW"}
        with translated():
            result = await self._owned.update_one(condition, [{"$set": change}])
        return result.modified_count == 1

    # -- many ------------------------------------------------------------------------------

    async def cancel_waiting_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        """Those that wait → `cancelled`."""
        return await self._update(still(job_ids, wanted, _WAITING), _CANCEL)

    async def redrive_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        """Those that are dead or cancelled → `pending`, due now."""
        return await self._update(still(job_ids, wanted, sources_of(Event.REDRIVE)), _REDRIVE)

    async def _update(self, condition: Document, change: Document | list[Document]) -> int:
        with translated():
            result = await self._owned.update_many(condition, change)
        return result.modified_count


def as_read(before: Job | None) -> Document:
    """What moves with all that may happen to a job; None: however it stands."""
    if before is None:
        return {}
    return {
        "state": before.state.value,
        "attempt": before.attempt,
        "due_at": before.due_at,
        "spec": {"$eq": before.body},
    }


def still(job_ids: Sequence[str], wanted: JobFilter, states: frozenset[State]) -> Document:
    """These jobs, as far as they are in one of `states` and what `wanted` asks for."""
    among = states & wanted.states if wanted.states else states
    return {
        **condition_of(wanted),
        "_id": {"$in": list(job_ids)},
        "state": in_states(among),
    }


def _change(after: Job) -> Document:
    """All that follows from what is asked for; the rest is the job's history and stays."""
    change: dict[str, Any] = {
        "state": target_of(Event.CHANGE).value,
        "queue": after.queue,
        "priority": after.spec.priority,
        "kind": after.spec.kind.value,
        "due_at": after.due_at,
        "spec": after.body,
    }
    if after.expires_at is None:
        return {"$set": change, "$unset": {"expires_at": ""}}
    return {"$set": {**change, "expires_at": after.expires_at}}
