"""Jobs that go: first the tombstone, then the executions, a day later the tombstone (R2).

The tombstone hides the job and keeps its id used, so that no redelivery and no late fire brings it
back (H3). It remembers how many attempts there were, which is where their executions are. A crash
between the steps leaves executions of a hidden job; whoever sweeps the tombstone deletes them
before it, so an id that is free again has no old records (H4).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from pymongo import DeleteMany

from pipeline.domain.job import Job
from pipeline.domain.states import Event, State, sources_of, target_of
from pipeline.ports import Chance, Clock, JobFilter
from pipeline.store.changes import as_read, still
from pipeline.store.connect import Database, Document, translated
from pipeline.store.indexes import BURIED_BY_TIME, FINAL_BY_END
from pipeline.store.reading import attempts_of
from pipeline.store.transitions import from_states

_BURIED = target_of(Event.BURY).value
_TOMBSTONE: list[Document] = [
    {
        "$replaceWith": {
            "_id": "$_id",
            "state": _BURIED,
            "fingerprint": "$fingerprint",
            "attempt": "$attempt",
            "buried_at": "$$NOW",
        }
    }
]
_DRAWN_FROM = 4
_NAMED_AT_MOST = 20
"""The executions of a job with more attempts are deleted as a range; a range is a command of its
own to MongoDB, and a name is a hundredth of that."""


class Burial:
    """Deletes from `jobs` and `executions`."""

    def __init__(self, database: Database, clock: Clock, chance: Chance) -> None:
        self._graves = database.jobs
        self._remains = database.executions
        self._burial_clock = clock
        self._burial_chance = chance

    async def bury(self, job_id: str, before: Job | None = None) -> bool:
        """One job; True also if it was buried before."""
        possible = {"state": from_states(Event.BURY)}
        condition = {"_id": job_id, "$and": [possible, as_read(before)]}
        with translated():
            await self._graves.update_one(condition, _TOMBSTONE)
            buried = await self._attempts_of_buried([job_id])
            await self._delete_executions(buried)
        return job_id in buried

    async def bury_many(self, job_ids: Sequence[str], wanted: JobFilter) -> int:
        """Those that do not run and are still what `wanted` asks for."""
        return await self._bury(job_ids, still(job_ids, wanted, sources_of(Event.BURY)))

    async def bury_ended(self, state: State, older_than: timedelta, limit: int) -> int:
        """What ended long ago. One that was redriven meanwhile has no end any more and stays."""
        before = self._burial_clock.now() - older_than
        ended = {"state": state.value, "finished_at": {"$lt": before}}
        with translated():
            job_ids = list(await self._draw(ended, FINAL_BY_END, limit))
        if job_ids:
            await self._bury(job_ids, {"_id": {"$in": job_ids}, **ended})
        return len(job_ids)

    async def sweep_buried(self, older_than: timedelta, limit: int) -> int:
        """Old tombstones, their executions first: a crash after `bury` may have left them."""
        old = {"buried_at": {"$lt": self._burial_clock.now() - older_than}}
        with translated():
            buried = await self._draw(old, BURIED_BY_TIME, limit)
            if buried:
                await self._delete_executions(buried)
                await self._graves.delete_many({"_id": {"$in": list(buried)}, **old})
        return len(buried)

    async def _draw(self, condition: Document, index: str, limit: int) -> Mapping[str, int | None]:
        """Some of the oldest, and how many attempts they had.

        Sweepers that all took the very oldest would wait for each other at every job: each draws
        one of the first few batches (R12). Where there are not so many, it takes the oldest.
        """
        passed_over = int(self._burial_chance.lot() * _DRAWN_FROM) * limit
        drawn = await self._oldest(condition, index, passed_over, limit)
        if passed_over and len(drawn) < limit:
            drawn = await self._oldest(condition, index, 0, limit)
        return drawn

    async def _oldest(
        self, condition: Document, index: str, passed_over: int, limit: int
    ) -> Mapping[str, int | None]:
        found = self._graves.find(condition, {"attempt": 1}, hint=index, batch_size=limit + 1)
        graves = await found.skip(passed_over).limit(limit).to_list(None)
        return {grave["_id"]: grave.get("attempt") for grave in graves}

    async def _bury(self, job_ids: Sequence[str], condition: Document) -> int:
        with translated():
            result = await self._graves.update_many(condition, _TOMBSTONE)
            await self._delete_executions(await self._attempts_of_buried(job_ids))
        return result.modified_count

    async def _attempts_of_buried(self, job_ids: Sequence[str]) -> Mapping[str, int | None]:
        """Who else buried one of them may have died before its executions were deleted."""
        graves = self._graves.find(
            {"_id": {"$in": list(job_ids)}, "state": _BURIED}, {"attempt": 1}
        )
        return {grave["_id"]: grave.get("attempt") async for grave in graves}

    async def _delete_executions(self, buried: Mapping[str, int | None]) -> None:
        named = list(_names(buried))
        if named:
            await self._remains.delete_many({"_id": {"$in": named}})
        ranges = [
            DeleteMany({"_id": attempts_of(job_id)})
            for job_id, attempts in buried.items()
            if attempts is None or attempts > _NAMED_AT_MOST
        ]
        if ranges:
            await self._remains.bulk_write(ranges, ordered=False)


def _names(buried: Mapping[str, int | None]) -> Iterator[str]:
    for job_id, attempts in buried.items():
        if attempts is not None and attempts <= _NAMED_AT_MOST:
            yield from (f"{job_id}/{attempt}" for attempt in range(1, attempts + 1))
