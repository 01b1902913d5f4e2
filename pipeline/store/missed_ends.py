"""The ends that nobody may have been told of, when MongoDB no longer remembers the changes.

Found by what the jobs are now. Every job that ended since and has not moved on is told; what is
lost are the steps in between, and ends that a redrive or a deletion has undone.
The moment of the change is lost too: the id says so, and is the same when it is told again.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from pipeline.domain.instants import to_ms
from pipeline.domain.job import FIRST_INSTANT
from pipeline.domain.lifecycle import JobEvent
from pipeline.domain.states import FINAL_STATES, State
from pipeline.store.change_stream import EVENT_FIELDS, as_moment, flat
from pipeline.store.connect import Database, Document
from pipeline.store.indexes import FINAL_BY_END
from pipeline.store.job_query import in_states

_BATCH = 500


async def missed_ends(
    database: Database, since: datetime | None
) -> AsyncIterator[Sequence[JobEvent]]:
    """In batches, by index."""
    query = {"state": in_states(FINAL_STATES), "finished_at": {"$gte": since or FIRST_INSTANT}}
    found = database.jobs.find(query, EVENT_FIELDS, batch_size=_BATCH, hint=FINAL_BY_END)
    batch: list[JobEvent] = []
    async for job in found:
        batch.append(_event(job))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _event(job: Document) -> JobEvent:
    ended: datetime = job["finished_at"]
    mark = f"found-{job['attempt']}-{to_ms(ended)}"
    return JobEvent(job["_id"], State(job["state"]), flat(job), as_moment(ended), ended, mark)
