"""The records of attempts on their way into MongoDB: the first insert of each stands (R6). A result
that comes after it changes nothing of it, and is noted beside it.

A record has to get in: one that does not would keep its job running, and the work would be done
again. So what MongoDB will never take (too large, no BSON, refused by a validator) goes in bare:
what its code said is left out, outcome and decision stay. A crash in between leaves no record; the
reaper then writes its own.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError, PyMongoError

from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.execution import LATE, ErrorInfo, Execution, late_note
from pipeline.domain.text import storable
from pipeline.store import documents
from pipeline.store.connect import DUPLICATE, Database, failed_writes, raw, translated
from pipeline.store.encoding import Unstorable, encoded
from pipeline.telemetry import log

LEFT_OUT = "left_out"
"""In the report of a bare record: why the rest is not there."""
_MESSAGE_CHARS = 1000

_log = log(__name__)
_Record = tuple[Execution, RawBSONDocument]


class Records:
    """Writes to `executions`."""

    def __init__(self, database: Database) -> None:
        self._records = database.executions
        self._raw_records = raw(database.executions)

    async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
        """Insert; where a key is taken, read the record that stands, whoever wrote it (R6, H2).

        Raises `Rejected` if MongoDB refuses even a bare one; its neighbours are recorded by then.
        """
        mine = [_storable(execution) for execution in executions]
        taken, refused = await self._insert_records(mine)
        stands = await self._standing(taken)
        await self._note_late([one for one, _ in mine if one.id in stands], stands)
        if refused:
            stands |= await self._record_bare([one for one, _ in mine if one.id in refused])
        return [stands.get(one.id, one) for one, _ in mine]

    async def _note_late(
        self, offered: Sequence[Execution], stands: Mapping[str, Execution]
    ) -> None:
        """For who reads the record; nothing follows from it, so a note may get lost."""
        for one in offered:
            if note := late_note(stands[one.id], one):
                unnoted = {"_id": one.id, f"report.{LATE}": {"$exists": False}}
                with suppress(PyMongoError):
                    await self._records.update_one(unnoted, {"$set": {f"report.{LATE}": note}})

    async def _record_bare(self, executions: Sequence[Execution]) -> dict[str, Execution]:
        bare = [_bare(execution, "MongoDB refused it") for execution in executions]
        taken, refused = await self._insert_records(bare)
        if refused:
            raise Rejected("invalid", Flaw("", f"MongoDB takes no record of {sorted(refused)}"))
        return {one.id: one for one, _ in bare} | await self._standing(taken)

    async def _insert_records(self, records: Sequence[_Record]) -> tuple[set[str], set[str]]:
        """Ids whose key is taken, and ids that MongoDB will never take as they are."""
        with translated():
            try:
                await self._raw_records.insert_many([data for _, data in records], ordered=False)
            except BulkWriteError as error:
                codes = failed_writes(error)
                taken = {records[at][0].id for at, code in codes.items() if code == DUPLICATE}
                return taken, {records[at][0].id for at in codes} - taken
        return set(), set()

    async def _standing(self, ids: Collection[str]) -> dict[str, Execution]:
        if not ids:
            return {}
        with translated():
            found = self._records.find({"_id": {"$in": list(ids)}})
            return {document["_id"]: documents.to_execution(document) async for document in found}


def _storable(execution: Execution) -> _Record:
    """The record and its bytes, bare if it can never be stored as it is."""
    try:
        return execution, encoded(documents.from_execution(execution))
    except Unstorable as why:
        return _bare(execution, str(why))


def _bare(execution: Execution, why: str) -> _Record:
    """Outcome and decision, without what the code said."""
    _log.error("record.bare", execution=execution.id, why=why, next="recorded without its result")
    error = execution.error
    if error is not None:
        error = ErrorInfo(_clean(error.type), _clean(error.message))
    bare = replace(execution, result=None, error=error, report={LEFT_OUT: why})
    return bare, encoded(documents.from_execution(bare))


def _clean(text: str) -> str:
    return storable(text[:_MESSAGE_CHARS])
