"""Leases on Redis: who may try a job, until when, and what becomes of one that runs out (R8, R9).

Extending and leasing have connections of their own: no crowd of other calls starves them.
"""

from collections.abc import Sequence
from datetime import timedelta

from pipeline.domain.instants import from_ms, from_us
from pipeline.domain.job import Entry
from pipeline.ports import ExpiredLease, Grant, Lease
from pipeline.queue import scripts
from pipeline.queue.batches import (
    BATCH,
    MS,
    each_queue,
    expired_words,
    held_words,
    lease_words,
    move_words,
    parts,
    return_words,
)
from pipeline.queue.connect import Lines, Reply, Word, pairs
from pipeline.queue.keys import keys_of
from pipeline.queue.scripts import Instant, Script

_KNOWS_MORE = {"lease": scripts.LEASE_OWN, "lease_own": scripts.LEASE_LIMITED}


class Leases:
    """Leasing, extending, ending, reaping."""

    def __init__(self, lines: Lines, leasing: Lines, instant: Instant) -> None:
        self._lines = lines
        self._leasing = leasing
        self._instant = instant
        self._limited: dict[str, Script] = {}
        """How we lease from queues in which limits were in use when we last did."""

    async def lease(
        self, queue: str, *, worker: str, lease_id: str, limit: int, ttl: timedelta
    ) -> Grant:
        """Move what is due from delayed to ready, then lease up to `limit` (≤ 1,000) in order.

        Idempotent by `lease_id`: the repeat after a lost reply gives the same jobs. A paused queue
        has no next due time, since nobody should get up for it.
        """
        words: list[Word] = [self._instant(), min(limit, BATCH), ttl // MS, worker, lease_id]
        now_us, next_due, word, *job_ids = await self._lease(
            queue, keys_of(queue).leasing(worker), words
        )
        if word == "unlimited":
            self._limited.pop(queue, None)
        return Grant(
            job_ids=job_ids,
            judged_at=from_us(now_us),
            next_due_at=None if next_due < 0 else from_ms(next_due),
            paused=word == "paused",
        )

    async def _lease(self, queue: str, keys: Sequence[str], words: Sequence[Word]) -> Reply:
        """By the script that knows no more of limits than are in use in this queue."""
        script = self._limited.get(queue, scripts.LEASE)
        while not (reply := await self._leasing.run(script, keys, words)):
            script = self._limited[queue] = _KNOWS_MORE[script.name]
        return reply

    async def extend(self, leases: Sequence[Lease], ttl: timedelta) -> None:
        """Write these leases, new or over another's: MongoDB was asked first (R8, H20)."""

        async def extend_in(queue: str, mine: Sequence[Lease]) -> None:
            for part in parts(mine):
                words: list[Word] = [self._instant(), ttl // MS, *held_words(part)]
                await self._leasing.run(scripts.EXTEND, keys_of(queue).ending, words)

        await each_queue(leases, lambda lease: lease.queue, extend_in)

    async def ack(self, leases: Sequence[Lease]) -> None:
        """Remove each lease that is still exactly this one (H13)."""
        await each_queue(leases, lambda lease: lease.queue, self._ack)

    async def _ack(self, queue: str, leases: Sequence[Lease]) -> None:
        for part in parts(leases):
            words: list[Word] = [self._instant(), *lease_words(part)]
            keys = keys_of(queue).ending
            has_keys = self._limited.get(queue) is scripts.LEASE_LIMITED
            if has_keys or await self._lines.run(scripts.ACK, keys, words) < 0:
                await self._lines.run(scripts.ACK_LIMITED, keys, words)

    async def forgo(self, leases: Sequence[Lease]) -> None:
        """As `ack`, where nothing was started: tokens of rates are given back."""
        await each_queue(leases, lambda lease: lease.queue, self._forgo)

    async def _forgo(self, queue: str, leases: Sequence[Lease]) -> None:
        for part in parts(leases):
            words: list[Word] = [self._instant(), *lease_words(part)]
            await self._lines.run(scripts.FORGO, keys_of(queue).ending, words)

    async def give_back(self, returns: Sequence[tuple[Lease, Entry]]) -> None:
        """Back to ready or delayed, each under its own lease only (R5, H13), and wake."""
        await each_queue(returns, lambda pair: pair[0].queue, self._give_back)

    async def _give_back(self, queue: str, returns: Sequence[tuple[Lease, Entry]]) -> None:
        for part in parts(returns):
            words: list[Word] = [self._instant(), *return_words(part)]
            await self._lines.run(scripts.GIVE_BACK, keys_of(queue).ending, words)

    # -- reaping

    async def expired(self, queue: str, limit: int) -> Sequence[ExpiredLease]:
        """Leases past their deadline by Redis's clock, the oldest first; nothing is moved (R9)."""
        words: list[Word] = [self._instant(), limit]
        reply = await self._lines.run(scripts.EXPIRED, [keys_of(queue).leased], words)
        return [ExpiredLease(job_id, int(deadline)) for job_id, deadline in pairs(reply)]

    async def requeue(self, queue: str, moves: Sequence[tuple[ExpiredLease, Entry]]) -> int:
        """Back to ready (or delayed), each if the same expired lease is still there (H12)."""
        moved = 0
        for part in parts(moves):
            words = [self._instant(), *move_words(part)]
            moved += await self._lines.run(scripts.REQUEUE, keys_of(queue).ending, words)
        return moved

    async def drop(self, queue: str, expired: Sequence[ExpiredLease]) -> int:
        """Remove each if the same expired lease is still there (H12)."""
        dropped = 0
        for part in parts(expired):
            words = [self._instant(), *expired_words(part)]
            dropped += await self._lines.run(scripts.DROP, keys_of(queue).ending, words)
        return dropped

    async def leased(self, queue: str, job_ids: Sequence[str]) -> frozenset[str]:
        """Which of these are in `leased`."""
        found: set[str] = set()
        for part in parts(job_ids):
            deadlines = await self._lines.ask("ZMSCORE", keys_of(queue).leased, *part)
            found.update(job_id for job_id, at in zip(part, deadlines, strict=True) if at)
        return frozenset(found)
