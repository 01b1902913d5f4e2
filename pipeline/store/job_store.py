"""`MongoJobStore`: the truth, as the port `JobStore` describes it.

The stages' writes are in `transitions`, the reads in `reading`; here are the operators' writes and
the door to the server.
"""

from datetime import datetime, timedelta

from pipeline.domain.states import Event, State, sources_of, target_of
from pipeline.ports import Chance, Clock
from pipeline.store.connect import connect, database_of, server_time, translated
from pipeline.store.indexes import ensure_indexes
from pipeline.store.reading import Reading, attempts_of
from pipeline.store.transitions import Transitions, from_states

_WAITING = sorted(state.value for state in sources_of(Event.CANCEL) - {State.RUNNING})
"""A running job is cancelled by the record of its attempt (R6), never by its state."""


class MongoJobStore(Transitions, Reading):
    """The port `JobStore` on MongoDB. `timeout` bounds every call; keep it well below the lease."""

    def __init__(self, url: str, clock: Clock, chance: Chance, timeout: timedelta) -> None:
        self._client = connect(url, timeout)
        database = database_of(self._client)
        Transitions.__init__(self, database, clock, chance)
        Reading.__init__(self, database)
        self._database = database

    async def prepare(self) -> None:
        """Create the indexes that are missing; raises `Unavailable`."""
        await ensure_indexes(self._database)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    async def server_time(self) -> datetime:
        """MongoDB's clock, cut to milliseconds."""
        return await server_time(self._client)

    # -- operators -------------------------------------------------------------------------

    async def cancel_waiting(self, job_id: str) -> bool:
        """`pending` or `queued` → `cancelled`."""
        with translated():
            result = await self._jobs.update_one(
                {"_id": job_id, "state": {"$in": _WAITING}},
                {
                    "$set": {"state": target_of(Event.CANCEL).value},
                    "$currentDate": {"finished_at": True},
                },
            )
        return result.modified_count == 1

    async def redrive(self, job_id: str) -> bool:
        """Back to `pending`, due now; `attempt` stays, it is the fence (H24)."""
        change = {
            "state": target_of(Event.REDRIVE).value,
            "due_at": "$$NOW",
            "failures": 0,
            "losses": 0,
        }
        with translated():
            result = await self._jobs.update_one(
                {"_id": job_id, "state": from_states(Event.REDRIVE)},
                [{"$set": change}, {"$unset": ["reason", "finished_at", "expires_at"]}],
            )
        return result.modified_count == 1

    async def bury(self, job_id: str) -> bool:
        """One conditional write makes the tombstone; only then the executions go (R2, H3, H4)."""
        tombstone = {
            "_id": "$_id",
            "state": target_of(Event.BURY).value,
            "fingerprint": "$fingerprint",
            "buried_at": "$$NOW",
        }
        with translated():
            result = await self._jobs.update_one(
                {"_id": job_id, "state": from_states(Event.BURY)}, [{"$replaceWith": tombstone}]
            )
            if result.modified_count == 0:
                return await self._is_buried(job_id)
            await self._executions.delete_many({"_id": attempts_of(job_id)})
        return True

    async def _is_buried(self, job_id: str) -> bool:
        grave = {"_id": job_id, "state": target_of(Event.BURY).value}
        return await self._jobs.find_one(grave, {"_id": 1}) is not None

    async def sweep_buried(self, older_than: timedelta, limit: int) -> int:
        """Old tombstones, their executions first: a crash in `bury` may have left them."""
        old = {"buried_at": {"$lt": self._clock.now() - older_than}}
        with translated():
            found = self._jobs.find(old, {"_id": 1}).limit(limit)
            job_ids = [document["_id"] async for document in found]
            for job_id in job_ids:
                await self._executions.delete_many({"_id": attempts_of(job_id)})
            if job_ids:
                await self._jobs.delete_many({"_id": {"$in": job_ids}, **old})
        return len(job_ids)

    async def pause_queue(self, queue: str) -> None:
        """Remember the pause, over a loss of Redis too."""
        with translated():
            await self._queues.update_one(
                {"_id": queue}, {"$currentDate": {"paused_at": True}}, upsert=True
            )

    async def resume_queue(self, queue: str) -> None:
        """Forget the pause."""
        with translated():
            await self._queues.update_one({"_id": queue}, {"$unset": {"paused_at": ""}})
