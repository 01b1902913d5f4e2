"""Ingest: messages become stored jobs, exactly one for each id (R1-R3).

One insert and one acknowledgement for all that has arrived. Nothing is acknowledged before MongoDB
has it on a majority; a crash anywhere before the ack only makes RabbitMQ deliver again, and the ids
make that harmless. A job that is already due is stored as `queued` and added to Redis at once; a
crash in between is the reconciler's (R4, R10).

MongoDB down: everything held is given back, once, and RabbitMQ keeps it while the gateway goes on
accepting.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic_core import to_json

from pipeline.arrival import announce
from pipeline.domain.envelope import ACCEPTED_KEY
from pipeline.domain.errors import Flaw, Rejected, Unavailable
from pipeline.domain.pauses import growing, half_to_all
from pipeline.intake import Bad, Good, Read, parked, read_delivery, wants_reply
from pipeline.ports import Chance, Clock, Delivery, JobStore, LeaseQueue, Mailbox, Stored
from pipeline.telemetry import INGESTED, PARKED, log

_DELIVERIES = 100
_INSERT = 1000
_SUSPECT_AFTER = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.4, 5.0

_log = log(__name__)


class Ingest:
    """The loop between the submit queue and the store; any number may run side by side."""

    def __init__(
        self, mailbox: Mailbox, store: JobStore, queue: LeaseQueue, clock: Clock, chance: Chance
    ) -> None:
        self._mailbox = mailbox
        self._store = store
        self._queue = queue
        self._clock = clock
        self._chance = chance
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled; what was not acknowledged by then is delivered to another."""
        while True:
            try:
                await self.step()
                self._failures = 0
            except Unavailable as error:
                await self._stand_back(error)
            except Exception as error:
                _log.exception("ingest.broke")
                await self._stand_back(error)

    async def step(self) -> None:
        """Take all that has arrived, store it, acknowledge it."""
        deliveries = await self._mailbox.take(_DELIVERIES)
        for batch in _apart(deliveries):
            await self._ingest(batch)

    async def _stand_back(self, error: Exception) -> None:
        """Give back once and pause, longer each time, so that nothing is delivered in circles."""
        self._failures += 1
        whole = growing(self._failures, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        pause = half_to_all(whole, self._chance.lot())
        _log.warning("ingest.failed", error=str(error), next=f"tries again in {pause:.1f} s")
        with suppress(Unavailable):  # is RabbitMQ itself away, then all is given back already
            await self._mailbox.give_back()
        await self._clock.sleep(pause)

    async def _ingest(self, deliveries: Sequence[Delivery]) -> None:
        reads = [read for delivery in deliveries for read in self._read(delivery)]
        good = [read for read in reads if isinstance(read, Good)]
        verdicts = await self._store_all(good)
        bad = [read for read in reads if isinstance(read, Bad)]
        bad += [
            _refused(read, verdict) for read, verdict in verdicts if _is_reported(read, verdict)
        ]
        for read in bad:
            await self._park(read)
        stored = [read for read, verdict in verdicts if not _is_reported(read, verdict)]
        await self._reply(deliveries, stored, bad)
        await self._mailbox.ack(deliveries)

    def _read(self, delivery: Delivery) -> Sequence[Read]:
        return read_delivery(delivery, self._clock.now(), self._chance)

    # -- good ones ---------------------------------------------------------------------------

    async def _store_all(self, good: Sequence[Good]) -> Sequence[tuple[Good, Stored]]:
        verdicts: list[tuple[Good, Stored]] = []
        for start in range(0, len(good), _INSERT):
            part = good[start : start + _INSERT]
            now = self._clock.now()
            stored = await self._store.insert([read.submission for read in part], now)
            judged = list(zip(part, stored, strict=True))
            fresh = [read.submission.entry for read, v in judged if v is Stored.NEW]
            await announce(fresh, now, self._queue)
            verdicts += judged
        for verdict in Stored:
            INGESTED.labels(verdict).inc(sum(1 for _, v in verdicts if v is verdict))
        return verdicts

    # -- bad ones ----------------------------------------------------------------------------

    async def _park(self, bad: Bad) -> None:
        await self._mailbox.park(bad.delivery, bad.body, bad.error, bad.remains)
        PARKED.labels(bad.error.code).inc()
        _log.warning("message.parked", code=bad.error.code, error=str(bad.error), index=bad.index)

    async def _reply(
        self, deliveries: Sequence[Delivery], good: Sequence[Good], bad: Sequence[Bad]
    ) -> None:
        asked = [delivery for delivery in deliveries if wants_reply(delivery)]
        if not asked:
            return
        ids: dict[int, list[str]] = defaultdict(list)
        rejected: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for read in good:
            ids[id(read.delivery)].append(read.submission.id)
        for read_bad in bad:
            rejected[id(read_bad.delivery)].append(_rejection(read_bad))
        for delivery in asked:
            await self._mailbox.reply(delivery, _answer(ids[id(delivery)], rejected[id(delivery)]))


def _apart(deliveries: Sequence[Delivery]) -> Sequence[Sequence[Delivery]]:
    """One batch, but a message that has come back often is read alone: it may be what kills us."""
    usual = [delivery for delivery in deliveries if delivery.times <= _SUSPECT_AFTER]
    suspect = [[delivery] for delivery in deliveries if delivery.times > _SUSPECT_AFTER]
    return [usual, *suspect] if usual else suspect


def _is_reported(read: Good, verdict: Stored) -> bool:
    """The gateway reads back what it publishes under a key and answers for itself: of its jobs one
    that was deleted by now is a copy of what is over, and nobody needs to be told."""
    if verdict is Stored.DELETED:
        return read.delivery.routing_key != ACCEPTED_KEY
    return verdict in (Stored.OTHER, Stored.REFUSED)


def _refused(read: Good, verdict: Stored) -> Bad:
    code, pointer, text = _WHY[verdict]
    return parked(read, Rejected(code, Flaw(pointer, text)))


_KEY = "/idempotency_key"
_WHY = {
    Stored.OTHER: ("conflict", _KEY, "another job was submitted under this key before"),
    Stored.DELETED: ("deleted", _KEY, "is that of a deleted job; free again a day after that"),
    Stored.REFUSED: ("invalid", "", "MongoDB refuses this document"),
}


def _rejection(bad: Bad) -> dict[str, Any]:
    errors = [{"pointer": flaw.pointer, "detail": flaw.detail} for flaw in bad.error.flaws]
    return {"index": bad.index, "code": bad.error.code, "errors": errors}


def _answer(ids: Sequence[str], rejected: Sequence[dict[str, Any]]) -> bytes:
    in_order = sorted(rejected, key=lambda rejection: rejection["index"])
    return to_json({"accepted": len(ids), "ids": ids, "rejected": in_order})
