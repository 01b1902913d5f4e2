"""The writes that move a job: each one conditional, named by the event that it is.

The filter of each comes from the transition table. All may be repeated after an unknown outcome:
what was applied no longer matches, and what stands is read back.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError

from pipeline.domain.execution import Execution, Outcome
from pipeline.domain.identity import fingerprint
from pipeline.domain.job import Entry, Job, Submission
from pipeline.domain.states import TRANSITIONS, Event, State, sources_of, target_of
from pipeline.ports import Attempt, Chance, Claim, Clock, Stored
from pipeline.store import documents
from pipeline.store.connect import (
    DUPLICATE,
    Database,
    Document,
    failed_writes,
    raw,
    translated,
)
from pipeline.store.encoding import Unstorable, encoded
from pipeline.store.job_query import in_states


def from_states(event: Event) -> Document:
    """The condition on the state under which `event` may happen."""
    return in_states(sources_of(event))


class Transitions:
    """Every write to `jobs` but the operators'."""

    def __init__(self, database: Database, clock: Clock, chance: Chance) -> None:
        self._jobs = database.jobs
        self._raw_jobs = raw(database.jobs)
        self._queues = database.queues
        self._clock = clock
        self._chance = chance
        self._seen_queues: set[str] = set()

    # -- ingest ----------------------------------------------------------------------------

    async def insert(self, submissions: Sequence[Submission], now: datetime) -> Sequence[Stored]:
        """One unordered insert; a duplicate key is success (R2)."""
        await self._remember_queues({submission.spec.queue for submission in submissions})
        tried = [_encode(submission, now) for submission in submissions]
        fit = [index for index, document in enumerate(tried) if document is not None]
        batch = [document for document in tried if document is not None]
        verdicts = [Stored.REFUSED] * len(submissions)
        inserted = await self._insert([submissions[index] for index in fit], batch)
        for index, verdict in zip(fit, inserted, strict=True):
            verdicts[index] = verdict
        return verdicts

    async def _insert(
        self, submissions: Sequence[Submission], batch: Sequence[RawBSONDocument]
    ) -> Sequence[Stored]:
        if not submissions:
            return []
        with translated():
            try:
                await self._raw_jobs.insert_many(batch, ordered=False)
            except BulkWriteError as error:
                return await self._verdicts(submissions, error)
        return [Stored.NEW] * len(submissions)

    async def _verdicts(
        self, submissions: Sequence[Submission], error: BulkWriteError
    ) -> Sequence[Stored]:
        failed = failed_writes(error)
        keyed = [submissions[index] for index in failed if submissions[index].keyed]
        there = await self._there([submission.id for submission in keyed])
        verdicts = [Stored.NEW] * len(submissions)
        for index, code in failed.items():
            verdicts[index] = _verdict(submissions[index], code, there)
        return verdicts

    async def _there(self, job_ids: Sequence[str]) -> Mapping[str, Document]:
        if not job_ids:
            return {}
        fields = {"fingerprint": 1, "state": 1}
        found = self._jobs.find({"_id": {"$in": list(job_ids)}}, fields)
        return {document["_id"]: document async for document in found}

    async def _remember_queues(self, names: set[str]) -> None:
        for name in names - self._seen_queues:
            with translated():
                await self._queues.update_one({"_id": name}, {"$set": {"_id": name}}, upsert=True)
            self._seen_queues.add(name)

    # -- dispatch and expiry ---------------------------------------------------------------

    async def dispatch(self, lookahead: timedelta, limit: int) -> Sequence[Entry]:
        """Find, claim under the whole condition again, read back what the claim won (R4, H15).

        Another dispatcher may win all that was found: then it is looked for again.
        """
        condition = {
            "state": from_states(Event.DISPATCH),
            "due_at": {"$lte": self._clock.now() + lookahead},
        }
        while job_ids := await self._find_due(condition, limit):
            if won := await self._claim(job_ids, condition):
                return won
        return []

    async def _find_due(self, condition: Document, limit: int) -> Sequence[str]:
        with translated():
            found = self._jobs.find(condition, {"_id": 1}, batch_size=limit + 1)
            return [job["_id"] for job in await found.sort("due_at", 1).limit(limit).to_list(None)]

    async def _claim(self, job_ids: Sequence[str], condition: Document) -> Sequence[Entry]:
        claim = self._chance.token()
        change = {
            "state": target_of(Event.DISPATCH).value,
            "claim": claim,
            "queued_at": self._clock.now(),
        }
        with translated():
            await self._jobs.update_many({"_id": {"$in": job_ids}, **condition}, {"$set": change})
            won = self._jobs.find(
                {"_id": {"$in": job_ids}, "claim": claim, "state": change["state"]},
                {"queue": 1, "due_at": 1, "priority": 1, "spec.limits": 1},
            )
            return [documents.to_entry(document) for document in await won.to_list(None)]

    async def expire(self, limit: int) -> Sequence[str]:
        """What waits past its `expires_at` is dead (R14); only those that this call has ended."""
        condition = {
            "state": from_states(Event.EXPIRE),
            "expires_at": {"$lte": self._clock.now()},
        }
        with translated():
            found = self._jobs.find(condition, {"_id": 1}).limit(limit)
            job_ids = [document["_id"] async for document in found]
            return await self._end_expired(job_ids, condition) if job_ids else []

    async def _end_expired(self, job_ids: Sequence[str], condition: Document) -> Sequence[str]:
        """Another watcher may have ended some since they were found: the claim tells whose."""
        claim, dead = self._chance.token(), target_of(Event.EXPIRE).value
        result = await self._jobs.update_many(
            {"_id": {"$in": job_ids}, **condition},
            {
                "$set": {"state": dead, "reason": "expired", "claim": claim},
                "$currentDate": {"finished_at": True},
            },
        )
        if result.modified_count == len(job_ids):
            return job_ids
        ours = self._jobs.find({"_id": {"$in": job_ids}, "claim": claim, "state": dead}, {"_id": 1})
        return [document["_id"] async for document in ours]

    # -- start -----------------------------------------------------------------------------

    async def start(self, job_ids: Sequence[str], claim: Claim) -> Sequence[Job]:
        """Win what may be started, then read back what was won under this lease id (R5)."""
        condition = {
            "_id": {"$in": list(job_ids)},
            "queue": claim.queue,
            "state": from_states(Event.START),
            "due_at": {"$lte": claim.judged_at},
            "expires_at": {"$not": {"$lte": claim.judged_at}},
        }
        change = {
            "state": target_of(Event.START).value,
            "lease_id": claim.lease_id,
            "worker": claim.worker,
            "started_at": claim.started_at,
        }
        update = {"$set": change, "$inc": {"attempt": 1}}
        with translated():
            if len(job_ids) == 1:
                won = await self._start_lone(condition, update)
                if won is not None:
                    return [documents.to_job(won)]
            else:
                await self._jobs.update_many(condition, update)
            return await self._won(job_ids, claim.lease_id)

    async def _start_lone(self, condition: Document, update: Document) -> Document | None:
        """Write and read back in one round trip: a lone job is one that somebody waits for.

        It is answered when a majority has the write (H5). None: not won, or won by an earlier try
        whose answer was lost (H22); what stands tells.
        """
        return await self._jobs.find_one_and_update(
            condition, update, return_document=ReturnDocument.AFTER
        )

    async def _won(self, job_ids: Sequence[str], lease_id: str) -> Sequence[Job]:
        """What runs under this lease id, read on a majority."""
        running = target_of(Event.START).value
        won = self._jobs.find(
            {"_id": {"$in": list(job_ids)}, "lease_id": lease_id, "state": running},
            batch_size=len(job_ids) + 1,
        )
        return [documents.to_job(document) for document in await won.to_list(None)]

    async def running(self, attempts: Sequence[Attempt]) -> frozenset[Attempt]:
        """Which of these attempts are still running under their lease id."""
        job_ids = [attempt.job_id for attempt in attempts]
        with translated():
            found = self._jobs.find(
                {"_id": {"$in": job_ids}, "state": State.RUNNING.value},
                {"attempt": 1, "lease_id": 1},
            )
            still = {
                Attempt(document["_id"], document["attempt"], document["lease_id"])
                async for document in found
            }
        return frozenset(still.intersection(attempts))

    # -- end -------------------------------------------------------------------------------

    async def settle(self, standing: Sequence[Execution]) -> None:
        """One `update_many` for each attempt number and decision, never by lease id alone (R7)."""
        groups: dict[tuple[Any, ...], list[Execution]] = defaultdict(list)
        for execution in standing:
            decision = execution.decision
            alone = execution.job_id if decision.delay else None
            groups[execution.attempt, decision, execution.outcome, alone].append(execution)
        with translated():
            if len(groups) == 1:
                (group,) = groups.values()
                await self._jobs.update_many(_condition(group), _change(group[0]))
            elif groups:
                await self._jobs.bulk_write([_update(g) for g in groups.values()], ordered=False)


def _encode(submission: Submission, now: datetime) -> RawBSONDocument | None:
    """The document as bytes, or None if this one can never be stored."""
    try:
        return encoded(documents.new_job(submission, now))
    except Unstorable:
        return None


def _verdict(submission: Submission, code: int, there: Mapping[str, Document]) -> Stored:
    if code != DUPLICATE:
        return Stored.REFUSED
    if not submission.keyed:
        return Stored.KNOWN
    stands = there.get(submission.id, {})
    if stands.get("fingerprint") != fingerprint(submission.body):
        return Stored.OTHER
    return Stored.DELETED if stands["state"] == State.BURIED else Stored.KNOWN


def _update(group: Sequence[Execution]) -> UpdateMany | UpdateOne:
    if len(group) == 1:
        return UpdateOne(_condition(group), _change(group[0]))
    return UpdateMany(_condition(group), _change(group[0]))


def _condition(group: Sequence[Execution]) -> Document:
    """These attempts, if they still run: the attempt number is the fence, the lease id its seal."""
    first = group[0]
    return {
        "_id": {"$in": [execution.job_id for execution in group]},
        "state": State.RUNNING.value,
        "attempt": first.attempt,
        "lease_id": {"$in": list({execution.lease_id for execution in group})},
    }


def _change(execution: Execution) -> Document | list[Document]:
    """What the record decided; times are MongoDB's own (R11)."""
    decision = execution.decision
    target = TRANSITIONS[State.RUNNING, decision.event]
    change: Document = {"state": target.value}
    if decision.reason is not None:
        change["reason"] = decision.reason
    counter = _COUNTERS.get(execution.outcome)
    if target is State.PENDING:
        return _due_again(change, counter, decision.delay)
    counted = {"$inc": {counter: 1}} if counter else {}
    return {"$set": change, "$currentDate": {"finished_at": True}, **counted}


def _due_again(change: Document, counter: str | None, delay: timedelta) -> list[Document]:
    """A due time reckoned from `$$NOW` needs a pipeline, which costs MongoDB twice as much."""
    change["due_at"] = {"$add": ["$$NOW", round(delay.total_seconds() * 1000)]}
    if counter:
        change[counter] = {"$add": [f"${counter}", 1]}
    return [{"$set": change}]


_COUNTERS = {
    Outcome.FAILED: "failures",
    Outcome.TIMED_OUT: "failures",
    Outcome.LOST: "losses",
}
