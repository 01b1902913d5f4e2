"""`MongoJobStore`: the truth, as the port `JobStore` describes it.

The stages' writes are in `transitions` and `records`, the owners' in `changes` and `burial`, the
reads in `reading` and `listing`; here is the door to the server.
"""

from datetime import datetime, timedelta

from pymongo.errors import DuplicateKeyError

from pipeline.domain.job import Job
from pipeline.domain.limits import Limit
from pipeline.ports import Chance, Clock
from pipeline.store.burial import Burial
from pipeline.store.changes import Changes
from pipeline.store.connect import connect, database_of, server_time, translated
from pipeline.store.indexes import ensure_indexes
from pipeline.store.listing import Listing
from pipeline.store.reading import Reading
from pipeline.store.records import Records
from pipeline.store.schedule_store import MongoScheduleStore
from pipeline.store.transitions import Transitions


class MongoJobStore(Transitions, Records, Changes, Burial, Reading, Listing):
    """The port `JobStore` on MongoDB. `timeout` bounds every call; keep it well below the lease."""

    def __init__(self, url: str, clock: Clock, chance: Chance, timeout: timedelta) -> None:
        self._client = connect(url, timeout)
        database = database_of(self._client)
        Transitions.__init__(self, database, clock, chance)
        Records.__init__(self, database)
        Changes.__init__(self, database)
        Burial.__init__(self, database, clock, chance)
        Reading.__init__(self, database)
        Listing.__init__(self, database, clock)
        self._database = database
        self._schedules = MongoScheduleStore(database, clock, chance)

    @property
    def schedules(self) -> MongoScheduleStore:
        """The schedules of the same database, over the same connections."""
        return self._schedules

    async def prepare(self) -> None:
        """Create the indexes that are missing; raises `Unavailable`."""
        await ensure_indexes(self._database)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    async def server_time(self) -> datetime:
        """MongoDB's clock, cut to milliseconds."""
        return await server_time(self._client)

    async def change(self, before: Job, after: Job) -> bool:
        """As `Changes.change`; its queue may be a new one."""
        await self._remember_queues({after.queue})
        return await super().change(before, after)

    # -- queues ----------------------------------------------------------------------------

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

    async def limit_queue(self, queue: str, limit: Limit, before: Limit | None = None) -> bool:
        """Remember the limit, over a loss of Redis too; `NO_LIMIT` forgets it.

        A queue that had no limit may be new; one that has another by now is not inserted again.
        """
        asked = limit.model_dump(exclude_none=True)
        change = {"$set": {"limit": asked}} if asked else {"$unset": {"limit": ""}}
        read = {} if before is None else before.model_dump(exclude_none=True)
        condition = {"_id": queue} | ({} if before is None else {"limit": read or None})
        with translated():
            try:
                result = await self._queues.update_one(condition, change, upsert=not read)
            except DuplicateKeyError:
                return False
        return result.matched_count > 0 or result.upserted_id is not None
