"""`MongoScheduleStore`: schedules, as the port `ScheduleStore` describes it.

A schedule lies in the index of what has to be looked at by the instant at which that is, and only
while there is one: any number of schedules of which none is due costs a look at the index's first
entry. Owners and watchers write under the same condition, so of two that decided on the same
schedule one wins and the other's write matches nothing (R13).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from pipeline.domain.firing import Skip
from pipeline.domain.identity import id_of_fire
from pipeline.domain.job import FIRST_INSTANT, Job
from pipeline.domain.schedule import Schedule
from pipeline.domain.states import FINAL_STATES, VISIBLE_STATES
from pipeline.ports import Advance, Chance, Clock, Position, SchedulePage, Skipped
from pipeline.store import schedule_documents as documents
from pipeline.store.connect import Database, Document, failed_writes, translated
from pipeline.store.documents import to_job
from pipeline.store.job_query import in_states, starting
from pipeline.telemetry import log

_DRAWN_FROM = 5
_SLICE = 25
"""So many documents are read before others get their turn: some milliseconds of CPU."""
_PASSED_OVER = timedelta(minutes=1)

_log = log(__name__)


class MongoScheduleStore:
    """The port `ScheduleStore` on the database of a `MongoJobStore`."""

    def __init__(self, database: Database, clock: Clock, chance: Chance) -> None:
        self._schedules = database.schedules
        self._skipped = database.skipped_fires
        self._jobs = database.jobs
        self._clock = clock
        self._chance = chance
        self._passed_over: set[str] = set()
        self._passed_since = 0.0

    # -- owners ----------------------------------------------------------------------------

    async def insert_schedule(self, schedule: Schedule) -> bool:
        """Store it, unless its id is taken."""
        with translated():
            try:
                await self._schedules.insert_one(documents.from_schedule(schedule))
            except DuplicateKeyError:
                return False
        return True

    async def replace_schedule(self, before: Schedule, after: Schedule) -> bool:
        """One conditional replacement: neither an owner nor a watcher came in between."""
        with translated():
            result = await self._schedules.replace_one(
                documents.mark_of(before), documents.from_schedule(after)
            )
        return result.matched_count == 1

    async def delete_schedule(self, before: Schedule) -> bool:
        """The schedule first: what is left of its fires after a crash is out of everybody's sight
        and goes when it is old."""
        with translated():
            result = await self._schedules.delete_one({"_id": before.id, "version": before.version})
            if result.deleted_count == 0 and await self._exists(before.id):
                return False
            await self._skipped.delete_many({"schedule_id": before.id})
        return True

    async def _exists(self, schedule_id: str) -> bool:
        return await self._schedules.find_one({"_id": schedule_id}, {"_id": 1}) is not None

    async def get_schedule(self, schedule_id: str) -> Schedule | None:
        """The schedule, or None."""
        with translated():
            document = await self._schedules.find_one({"_id": schedule_id})
        return None if document is None else documents.to_schedule(document)

    async def list_schedules(
        self, limit: int, after: Position | None, q: str | None = None
    ) -> SchedulePage:
        """Newest first by (created_at, id)."""
        with translated():
            found = (
                self._schedules.find(_query(after, q))
                .sort([("created_at", -1), ("_id", -1)])
                .limit(limit + 1)
            )
            schedules = [documents.to_schedule(each) for each in await found.to_list(None)]
        page = schedules[:limit]
        more = len(schedules) > limit
        return SchedulePage(page, (page[-1].created_at, page[-1].id) if more else None)

    async def skipped(
        self, schedule_id: str, limit: int, before: datetime | None
    ) -> Sequence[Skipped]:
        """Newest first. A fire time that has a job was not skipped: of two watchers that decided
        differently the other one's decision stands."""
        found: list[Skipped] = []
        while len(found) < limit:
            read = await self._read_skipped(schedule_id, limit, before)
            found += await self._without_job(read)
            if len(read) < limit:
                break
            before = read[-1].first
        return found[:limit]

    async def _read_skipped(
        self, schedule_id: str, limit: int, before: datetime | None
    ) -> Sequence[Skipped]:
        query: Document = {"schedule_id": schedule_id}
        if before is not None:
            query["first"] = {"$lt": before}
        with translated():
            read = self._skipped.find(query).sort("first", -1).limit(limit)
            return [documents.to_skipped(document) for document in await read.to_list(None)]

    async def _without_job(self, read: Sequence[Skipped]) -> Sequence[Skipped]:
        ids = {
            id_of_fire(skip.schedule_id, skip.first): skip
            for skip in read
            if skip.first == skip.last
        }
        with translated():
            made = await self._jobs.find({"_id": {"$in": list(ids)}}, {"_id": 1}).to_list(None)
        with_job = [ids[document["_id"]] for document in made]
        return [skip for skip in read if skip not in with_job]

    async def runs(self, schedule_id: str, limit: int, before: datetime | None) -> Sequence[Job]:
        """Newest fire time first; deleted ones are out of sight."""
        query: Document = {"schedule_id": schedule_id, "state": in_states(VISIBLE_STATES)}
        query["fire_time"] = {"$exists": True} if before is None else {"$lt": before}
        with translated():
            found = self._jobs.find(query).sort("fire_time", -1).limit(limit)
            return [to_job(document) for document in await found.to_list(None)]

    # -- watchers --------------------------------------------------------------------------

    async def schedules_to_look_at(self, until: datetime, limit: int) -> Sequence[Schedule]:
        """Drawn from the oldest: watchers that all look at one moment take different ones (R12).

        Others may have had all that was drawn: then it is drawn again.
        """
        while drawn := await self._draw(until, limit):
            schedules = await self._read(drawn, until)
            self._set_aside([each for each in schedules if not documents.is_readable(each)])
            if readable := [each for each in schedules if documents.is_readable(each)]:
                return readable
        return []

    async def _draw(self, until: datetime, limit: int) -> Sequence[str]:
        """Ids from the index alone; the documents of those that are drawn are read afterwards."""
        condition = self._to_look_at({"$lte": until})
        with translated():
            oldest = self._schedules.find(condition, {"_id": 1}).sort("look_at", 1)
            come = await oldest.limit(_DRAWN_FROM * limit).to_list(None)
        lots = sorted((self._chance.lot(), document["_id"]) for document in come)
        return [schedule_id for _, schedule_id in lots[:limit]]

    async def _read(self, ids: Sequence[str], until: datetime) -> Sequence[Schedule]:
        schedules: list[Schedule] = []
        with translated():
            still = self._schedules.find({"_id": {"$in": ids}, "look_at": {"$lte": until}})
            found = await still.to_list(None)
        for start in range(0, len(found), _SLICE):
            schedules += map(documents.to_schedule, found[start : start + _SLICE])
            await self._clock.sleep(0)
        return schedules

    def _set_aside(self, unreadable: Sequence[Schedule]) -> None:
        if unreadable:
            ids = [schedule.id for schedule in unreadable]
            _log.warning("schedules.unreadable", ids=ids[:10], next="left to other versions")
            self.pass_over(ids)

    def pass_over(self, schedule_ids: Sequence[str]) -> None:
        """In memory, so that others who understand them better are in time with them."""
        self._forget()
        self._passed_over.update(schedule_ids)

    def _forget(self) -> None:
        if self._clock.monotonic() - self._passed_since >= _PASSED_OVER.total_seconds():
            self._passed_over.clear()
            self._passed_since = self._clock.monotonic()

    def _to_look_at(self, look_at: Document) -> Document:
        self._forget()
        others: Document = {"_id": {"$nin": list(self._passed_over)}} if self._passed_over else {}
        return {"look_at": look_at, **others}

    async def next_look_at(self) -> datetime | None:
        """The first entry of the index."""
        condition = self._to_look_at({"$gte": FIRST_INSTANT})  # answered by the index alone
        with translated():
            first = await self._schedules.find_one(
                condition, {"_id": 0, "look_at": 1}, sort=[("look_at", 1)]
            )
        return None if first is None else first["look_at"]

    async def advance(self, advances: Sequence[Advance], look_again_at: datetime) -> None:
        """The skips are written first: a crash in between repeats them and loses none."""
        decided_at = self._clock.now()
        skips = [
            _write_down(advance.before.id, skip, decided_at)
            for advance in advances
            for skip in advance.plan.skips
        ]
        moves = [
            UpdateOne(
                documents.mark_of(advance.before),
                documents.move_on(advance.plan, _look_at(advance, look_again_at)),
            )
            for advance in advances
        ]
        with translated():
            if skips:
                await self._write_skips(skips)
            if moves:
                await self._schedules.bulk_write(moves, ordered=False)

    async def _write_skips(self, skips: Sequence[InsertOne[Document] | UpdateOne]) -> None:
        try:
            await self._skipped.bulk_write(list(skips), ordered=False)
        except BulkWriteError as error:
            failed_writes(error)

    async def unfinished_runs(self, before: Mapping[str, datetime]) -> Mapping[str, Sequence[str]]:
        """From an index that holds nothing but such jobs, whatever the history."""
        unfinished = in_states(VISIBLE_STATES - FINAL_STATES)
        query = {"schedule_id": {"$in": list(before)}, "state": unfinished}
        with translated():
            found = self._jobs.find(query, {"schedule_id": 1, "fire_time": 1})
            jobs = await found.sort([("schedule_id", 1), ("fire_time", 1)]).to_list(None)
        runs: dict[str, list[str]] = {}
        for job in jobs:
            fire_time = job.get("fire_time")  # of one that an older version triggered: none
            if fire_time is not None and fire_time < before[job["schedule_id"]]:
                runs.setdefault(job["schedule_id"], []).append(job["_id"])
        return runs


def _write_down(
    schedule_id: str, skip: Skip, decided_at: datetime
) -> InsertOne[Document] | UpdateOne:
    """One fire time is written once. A span that begins like one of an earlier try reaches as far
    as either: that try died before the schedule had moved on."""
    document = documents.from_skip(schedule_id, skip, decided_at)
    if skip.first == skip.last:
        return InsertOne(document)
    key, last = {"_id": document.pop("_id")}, document.pop("last")
    return UpdateOne(key, {"$setOnInsert": document, "$max": {"last": last}}, upsert=True)


def _look_at(advance: Advance, look_again_at: datetime) -> datetime | None:
    return look_again_at if advance.plan.is_held else advance.after.look_at


def _query(after: Position | None, q: str | None) -> Document:
    query: Document = {}
    if q:
        query["spec.name"] = starting(q)
    if after is not None:
        query["$or"] = [
            {"created_at": {"$lt": after[0]}},
            {"created_at": after[0], "_id": {"$lt": after[1]}},
        ]
    return query
