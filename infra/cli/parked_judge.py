"""Whether a parked message, submitted again, would become a job: judged as ingest judges it.

What it says is read by ingest's own reader; what stands under its keys is looked up in MongoDB.
When MongoDB does not answer, nothing is known about its keys, and whoever asked is told so. Between
the look and the message's arrival another job may take its key: ingest parks it again then.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from gateway.keys import objection
from infra.exits import CommandFailed, Exit
from pipeline.broker.parked_queue import Parked
from pipeline.clock import StoreClock, SystemChance
from pipeline.config import Settings
from pipeline.domain.delayed import DELAY_EXCHANGE
from pipeline.domain.envelope import ACCEPTED_KEY
from pipeline.domain.errors import Unavailable
from pipeline.domain.identity import fingerprint
from pipeline.domain.job import Submission
from pipeline.intake import Bad, read_delivery
from pipeline.ports import Delivery, Standing
from pipeline.store.connect import UnfitUrl
from pipeline.store.job_store import MongoJobStore

_PATIENCE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Fit:
    """It may go: under this `message_id` if it has none; `doubt` says what is not known of it."""

    message_id: str | None
    doubt: str | None


class Judge:
    """`open_judge` makes it."""

    def __init__(self, store: MongoJobStore) -> None:
        self._store = store
        self._doubt: str | None = None

    async def judge(self, parked: Parked, body: bytes) -> Fit:
        """Raises `Rejected` for what would not become a job."""
        message_id = _identity(parked, body)
        jobs = [each for each in _jobs(parked, body, message_id) if each.keyed]
        standing = await self._standing([each.id for each in jobs])
        for job in jobs:
            there = standing.get(job.id)
            if there is not None and (error := objection(fingerprint(job.body), there)):
                raise error
        return Fit(message_id, self._doubt if jobs else None)

    async def _standing(self, ids: Sequence[str]) -> Mapping[str, Standing]:
        """Asked in vain once, MongoDB is not asked for each of thousands."""
        if not ids or self._doubt:
            return {}
        try:
            return await self._store.standing(ids)
        except Unavailable as error:
            self._doubt = f"whether its key is another job's is not known: {error}"
            return {}


@asynccontextmanager
async def open_judge(settings: Settings) -> AsyncIterator[Judge]:
    """Connects at its first question; a URL that is none ends the command."""
    try:
        store = MongoJobStore(settings.mongo_url, StoreClock(), SystemChance(), _PATIENCE)
    except UnfitUrl as unfit:
        raise CommandFailed(Exit.USAGE, f"DUEQ_MONGO_URL cannot be used: {unfit}") from None
    try:
        yield Judge(store)
    finally:
        store.close()


def _identity(parked: Parked, body: bytes) -> str | None:
    """The `message_id` that it lacks."""
    keyed = [job.keyed for job in _jobs(parked, body, None)]
    if parked.exchange == DELAY_EXCHANGE or parked.routing_key == ACCEPTED_KEY or any(keyed):
        return None
    return f"parked/{parked.id}"


def _jobs(parked: Parked, body: bytes, message_id: str | None) -> Sequence[Submission]:
    """As ingest will read them; raises `Rejected` for the first that is none."""
    delivery = Delivery(
        body=body,
        routing_key=parked.routing_key,
        content_type=parked.text("content_type"),
        message_id=parked.text("message_id") or message_id,
        reply_to=None,
        correlation_id=None,
        times=1,
        token=None,
        exchange=parked.exchange,
        properties=parked.own_properties(message_id),
    )
    jobs = []
    for read in read_delivery(delivery, StoreClock().now(), SystemChance()):
        if isinstance(read, Bad):
            raise read.error
        jobs.append(read.submission)
    return jobs
