"""What is read from MongoDB without moving anything. Read concern majority throughout."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pipeline.domain.execution import Execution
from pipeline.domain.job import FIRST_INSTANT, Job
from pipeline.domain.limits import Limit
from pipeline.domain.states import VISIBLE_STATES, State
from pipeline.ports import Place, Position, Standing
from pipeline.store import documents
from pipeline.store.connect import Database, Document, translated
from pipeline.store.job_query import in_states


class Reading:
    """Every read of `jobs`, `executions` and `queues`."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.jobs
        self._executions = database.executions
        self._queues = database.queues

    async def get(self, job_id: str) -> Job | None:
        """The job, or None if unknown or buried."""
        return (await self.get_many([job_id])).get(job_id)

    async def get_many(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """Those of these jobs that exist and are not buried."""
        with translated():
            found = self._jobs.find(
                {"_id": {"$in": list(job_ids)}, "state": in_states(VISIBLE_STATES)}
            )
            return {document["_id"]: documents.to_job(document) async for document in found}

    async def places(self, job_ids: Sequence[str]) -> Sequence[Place]:
        """Of those of these jobs that exist and are not buried."""
        query = {"_id": {"$in": list(job_ids)}, "state": in_states(VISIBLE_STATES)}
        with translated():
            found = self._jobs.find(query, {"queue": 1, "state": 1})
            return [
                Place(document["_id"], document["queue"], State(document["state"]))
                async for document in found
            ]

    async def standing(self, job_ids: Sequence[str]) -> Mapping[str, Standing]:
        """What stands under these keys; a tombstone keeps the fingerprint of its job."""
        query = {"_id": {"$in": list(job_ids)}, "fingerprint": {"$exists": True}}
        with translated():
            found = self._jobs.find(query, {"fingerprint": 1, "state": 1})
            return {
                document["_id"]: Standing(document["fingerprint"], State(document["state"]))
                async for document in found
            }

    async def executions(
        self, job_id: str, after: int = 0, limit: int = 500
    ) -> Sequence[Execution]:
        """The attempts of a job so numbered, oldest first. By their names: as text, 10 is before
        2."""
        names = [(job_id, number) for number in range(after + 1, after + limit + 1)]
        found = await self.executions_by_id(names) if names else {}
        return [found[name] for name in names if name in found]

    async def executions_by_id(
        self, ids: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], Execution]:
        """The records of these attempts, as far as they exist."""
        wanted = [f"{job_id}/{attempt}" for job_id, attempt in ids]
        with translated():
            found = self._executions.find({"_id": {"$in": wanted}})
            records = [documents.to_execution(document) async for document in found]
        return {(record.job_id, record.attempt): record for record in records}

    async def counts(self) -> Mapping[State, int]:
        """Exact where an index counts; succeeded is the rest of the estimated whole.

        The whole is what is there by now, also of inserts under way; its parts are what a majority
        has. A job that is just being inserted must not be in the whole and in no part. So the parts
        are counted after all that MongoDB had given a time to when it had counted the whole.
        """
        counts: dict[State, int] = {}
        with translated():
            async with await self._jobs.database.client.start_session() as session:
                whole = await self._jobs.database.command("count", self._jobs.name, session=session)
                session.advance_operation_time(whole["$clusterTime"]["clusterTime"])
                grave = {"buried_at": {"$exists": True}}
                buried = await self._jobs.count_documents(grave, session=session)
                for state in sorted(VISIBLE_STATES - {State.SUCCEEDED}):
                    found = self._jobs.count_documents(_all_in(state), session=session)
                    counts[state] = await found
        counts[State.SUCCEEDED] = max(0, whole["n"] - buried - sum(counts.values()))
        return counts

    # -- reconcile -------------------------------------------------------------------------

    async def queued_jobs(
        self, since: datetime | None, until: datetime, after: Position | None, limit: int
    ) -> Sequence[Job]:
        """`queued` in a window of `queued_at`, in its order."""
        window: Document = {"$lt": until} if since is None else {"$gte": since, "$lt": until}
        return await self._in_order(State.QUEUED, "queued_at", window, after, limit)

    async def running_jobs(
        self, started_before: datetime, after: Position | None, limit: int
    ) -> Sequence[Job]:
        """`running` since before, in the order of `started_at`."""
        window = {"$lt": started_before}
        return await self._in_order(State.RUNNING, "started_at", window, after, limit)

    async def _in_order(
        self, state: State, field: str, window: Document, after: Position | None, limit: int
    ) -> Sequence[Job]:
        query: Document = {"state": state.value, field: window}
        if after is not None:
            query["$or"] = [
                {field: {"$gt": after[0]}},
                {field: after[0], "_id": {"$gt": after[1]}},
            ]
        with translated():
            found = self._jobs.find(query).sort([(field, 1), ("_id", 1)]).limit(limit)
            return [documents.to_job(document) async for document in found]

    # -- queues ----------------------------------------------------------------------------

    async def paused_queues(self) -> frozenset[str]:
        """The paused ones."""
        with translated():
            found = self._queues.find({"paused_at": {"$exists": True}}, {"_id": 1})
            return frozenset([document["_id"] async for document in found])

    async def limited_queues(self) -> Mapping[str, Limit]:
        """The limits of those that have one."""
        with translated():
            found = self._queues.find({"limit": {"$exists": True}}, {"limit": 1})
            return {doc["_id"]: Limit.model_validate(doc["limit"]) async for doc in found}

    async def active_queues(self) -> frozenset[str]:
        """Queues that ever had a job, a pause or a limit."""
        with translated():
            found = self._queues.find({}, {"_id": 1})
            return frozenset([document["_id"] async for document in found])


def attempts_of(job_id: str) -> Document:
    """The range of execution ids of one job: `0` is the character after `/`."""
    return {"$gte": f"{job_id}/", "$lt": f"{job_id}0"}


def _all_in(state: State) -> Document:
    """A partial index is used only if its first key is asked for: else every job is looked at."""
    key = {State.QUEUED: "queued_at", State.RUNNING: "started_at"}
    query: Document = {"state": state.value}
    return query | ({key[state]: {"$gte": FIRST_INSTANT}} if state in key else {})
