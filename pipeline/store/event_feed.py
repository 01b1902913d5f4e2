"""`MongoEventFeed`: the change stream over `jobs`, its bookmark, and who may read it.

The bookmark is one document (`bookmarks`, `_id` "events"): the holder, until when he holds it, the
resume token behind the last change that was told, and the instant (`at`) up to which that is all.
Every right is minted anew (`holder`), and the bookmark moves only under it: a holder who froze,
lost it and wakes later matches nothing, also if the late write is one that he sent himself under an
earlier right. A crash leaves the bookmark where it was; what was told since is told again.

The stream is read by plain `aggregate` and `getMore`: the driver's own object costs a thread switch
for each change.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from bson.codec_options import CodecOptions
from pymongo.errors import DuplicateKeyError, OperationFailure

from pipeline.domain.job import FIRST_INSTANT
from pipeline.domain.lifecycle import Change, EventError, JobEvent, Moment
from pipeline.ports import Chance, HistoryLost
from pipeline.store.change_stream import (
    EVENT_FIELDS,
    flat,
    just_before,
    lasting,
    pipeline_from,
    to_change,
)
from pipeline.store.connect import Document, Session, connect_to_follow, database_of, translated
from pipeline.store.missed_ends import missed_ends

HOLD = timedelta(seconds=6)
"""So long nobody tells after the teller was killed. He keeps it four times as often while he tells,
and rests for two seconds at most."""
WAIT_MS = 1_000
_EVENTS = {"_id": "events"}
_LOST_CODES = frozenset({136, 260, 280, 286})
"""CappedPositionLost, InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost."""
_SNAPSHOT_GONE = frozenset({239, 246})
"""SnapshotTooOld, SnapshotUnavailable."""
_CLOSED = 0
_AWARE: CodecOptions[Document] = CodecOptions(tz_aware=True)
"""Commands ignore what the client was told."""


class MongoEventFeed:
    """The port `EventFeed`. `close` it in the end."""

    def __init__(self, url: str, chance: Chance, timeout: timedelta) -> None:
        self._client = connect_to_follow(url, timeout)
        self._database = database_of(self._client)
        self._bookmarks = self._database.bookmarks
        self._chance = chance
        self._holder: str | None = None
        self._session: Session | None = None
        self._cursor = _CLOSED
        self._token: Document | None = None
        self._at: datetime | None = None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # -- the right ---------------------------------------------------------------------------

    async def hold(self) -> bool:
        """Keep the right, or take it if nobody has it."""
        if self._holder is not None:
            return await self._write({})
        taken = self._chance.token()
        free = {**_EVENTS, "$expr": {"$lte": ["$until", "$$NOW"]}}
        with translated():
            await self._make_bookmark()
            result = await self._bookmarks.update_one(
                free, [{"$set": {"holder": taken, "until": _later()}}]
            )
        if result.matched_count == 1:
            self._holder = taken
            self.rewind()
        return self._holder is not None

    async def _make_bookmark(self) -> None:
        fresh = {"$setOnInsert": {"until": FIRST_INSTANT}}
        with suppress(DuplicateKeyError):  # another watcher made it at the same moment
            await self._bookmarks.update_one(_EVENTS, fresh, upsert=True)

    async def let_go(self) -> None:
        """End the right now."""
        holder, self._holder = self._holder, None
        if holder is not None:
            with translated():
                await self._bookmarks.update_one(
                    {**_EVENTS, "holder": holder}, [{"$set": {"until": "$$NOW", "holder": ""}}]
                )

    async def mark(self) -> bool:
        """Everything that was read is told."""
        position = {} if self._token is None else {"token": {"$literal": self._token}}
        return await self._write(position | ({} if self._at is None else {"at": self._at}))

    async def _write(self, position: Document) -> bool:
        """Only under this very right; anything else than a clear yes ends it."""
        holder, self._holder = self._holder, None
        if holder is None:
            return False
        with translated():
            result = await self._bookmarks.update_one(
                {**_EVENTS, "holder": holder}, [{"$set": {**position, "until": _later()}}]
            )
        if result.matched_count == 1:
            self._holder = holder
        return self._holder is not None

    # -- the stream --------------------------------------------------------------------------

    async def read(self, limit: int) -> Sequence[Change]:
        """One `getMore`; its token is that behind the batch, also when nothing came."""
        with translated():
            try:
                if self._cursor == _CLOSED:
                    await self._open(await self._bookmark())
                batch = await self._more(limit)
            except OperationFailure as error:
                self.rewind()
                if error.code in _LOST_CODES:
                    raise HistoryLost(f"code {error.code}") from error
                raise
            except BaseException:
                self.rewind()
                raise
        changes = [to_change(document) for document in batch if "documentKey" in document]
        if len(batch) >= limit:
            self._at = changes[-1].at
        return changes

    def rewind(self) -> None:
        """The server drops the old cursor by itself after ten minutes."""
        self._cursor = _CLOSED
        self._token = self._at = None

    async def _bookmark(self) -> Document:
        return await self._bookmarks.find_one(_EVENTS) or {}

    async def _open(self, bookmark: Document) -> None:
        where = {"startAfter": bookmark["token"]} if "token" in bookmark else {}
        await self._open_at(where)

    async def _open_at(self, where: Document) -> None:
        if self._session is None:
            self._session = await self._client.start_session(causal_consistency=False)
        reply = await self._database.command(
            {"aggregate": "jobs", "pipeline": pipeline_from(where), "cursor": {"batchSize": 0}},
            codec_options=_AWARE,
            session=self._session,
        )
        self._cursor = reply["cursor"]["id"]
        self._token = reply["cursor"].get("postBatchResumeToken")

    async def _more(self, limit: int) -> Sequence[Document]:
        reply = await self._database.command(
            {
                "getMore": self._cursor,
                "collection": "jobs",
                "batchSize": limit,
                "maxTimeMS": WAIT_MS,
            },
            codec_options=_AWARE,
            session=self._session,
        )
        # Dropped by somebody, the collection ends the stream: the next read opens it after that.
        self._cursor = reply["cursor"]["id"]
        self._token = reply["cursor"]["postBatchResumeToken"]
        self._at = reply["operationTime"].as_datetime()
        batch: Sequence[Document] = reply["cursor"]["nextBatch"]
        return batch

    # -- what the changes do not say ---------------------------------------------------------

    async def before(
        self, job_ids: Sequence[str], moment: Moment
    ) -> Mapping[str, Mapping[str, Any]]:
        """Read in the past; beyond MongoDB's memory, what can no longer have changed."""
        with translated():
            try:
                past = {"level": "snapshot", "atClusterTime": just_before(moment)}
                return {job["_id"]: flat(job) for job in await self._find(job_ids, past)}
            except OperationFailure as error:
                if error.code not in _SNAPSHOT_GONE:
                    raise
            jobs = await self._find(job_ids, {"level": "majority"})
            return {job["_id"]: lasting(job) for job in jobs}

    async def _find(self, job_ids: Sequence[str], read_concern: Document) -> Sequence[Document]:
        reply = await self._database.command(
            {
                "find": "jobs",
                "filter": {"_id": {"$in": list(job_ids)}, "queue": {"$exists": True}},
                "projection": EVENT_FIELDS,
                "batchSize": len(job_ids) + 1,
                "singleBatch": True,
                "readConcern": read_concern,
            },
            codec_options=_AWARE,
        )
        found: Sequence[Document] = reply["cursor"]["firstBatch"]
        return found

    async def errors(
        self, attempts: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], EventError]:
        """Type and message, not the long story."""
        wanted = {"_id": {"$in": [f"{job_id}/{attempt}" for job_id, attempt in attempts]}}
        fields = {"job_id": 1, "attempt": 1, "error.type": 1, "error.message": 1}
        with translated():
            records = await self._database.executions.find(wanted, fields).to_list(None)
        return {
            (record["job_id"], record["attempt"]): EventError(**record["error"])
            for record in records
            if record.get("error")
        }

    # -- when it is too late -----------------------------------------------------------------

    async def start_over(self) -> AsyncIterator[Sequence[JobEvent]]:
        """Open the stream first, then look at the collection: nothing falls in between."""
        self.rewind()
        with translated():
            since = (await self._bookmark()).get("at")
            await self._open_at({})
            async for batch in missed_ends(self._database, since):
                yield batch

    async def lag(self) -> timedelta | None:
        """By MongoDB's clock; None: nothing was ever told."""
        with translated():
            found = await self._bookmarks.aggregate(
                [
                    {"$match": {**_EVENTS, "at": {"$exists": True}}},
                    {"$project": {"at": 1, "now": "$$NOW"}},
                ]
            ).to_list(1)
        return found[0]["now"] - found[0]["at"] if found else None


def _later() -> Document:
    return {"$add": ["$$NOW", round(HOLD.total_seconds() * 1000)]}
