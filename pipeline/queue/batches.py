"""Batches on their way into scripts: split by queue and size, and flattened into words."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

from pipeline.domain.instants import to_ms
from pipeline.domain.job import Entry
from pipeline.ports import ExpiredLease, Lease
from pipeline.queue.connect import Word

BATCH = 1000
"""Jobs in one script call: it bounds how long Redis serves nobody else (a few ms)."""
MS = timedelta(milliseconds=1)

T = TypeVar("T")
R = TypeVar("R")


async def each_queue(
    items: Sequence[T],
    queue_of: Callable[[T], str],
    act: Callable[[str, Sequence[T]], Awaitable[R]],
) -> Sequence[R]:
    """Act on the items of each queue, on all queues at the same time.

    Every queue is tried to the end before the first failure is raised.
    """
    grouped: defaultdict[str, list[T]] = defaultdict(list)
    for item in items:
        grouped[queue_of(item)].append(item)
    if len(grouped) == 1:
        return [await act(queue, group) for queue, group in grouped.items()]
    calls = (act(queue, group) for queue, group in grouped.items())
    done = await asyncio.gather(*calls, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
    return [result for result in done if not isinstance(result, BaseException)]


def parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items in batches."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def entry_words(entries: Sequence[Entry]) -> list[Word]:
    """Id, due ms, priority, limit of each."""
    words: list[Word] = []
    for entry in entries:
        words += (entry.job_id, to_ms(entry.due_at), entry.priority, _limit_of(entry))
    return words


def lease_words(leases: Sequence[Lease]) -> list[Word]:
    """Id and owner of each."""
    words: list[Word] = []
    for lease in leases:
        words += (lease.job_id, owner_of(lease))
    return words


def held_words(leases: Sequence[Lease]) -> list[Word]:
    """Id, owner, limit key of each."""
    words: list[Word] = []
    for lease in leases:
        words += (lease.job_id, owner_of(lease), lease.limit_key or "")
    return words


def return_words(returns: Sequence[tuple[Lease, Entry]]) -> list[Word]:
    """Id, due ms, priority, limit, owner of each."""
    words: list[Word] = []
    for lease, entry in returns:
        words += (lease.job_id, to_ms(entry.due_at), entry.priority, _limit_of(entry))
        words.append(owner_of(lease))
    return words


def move_words(moves: Sequence[tuple[ExpiredLease, Entry]]) -> list[Word]:
    """Id, due ms, priority, limit, deadline of each."""
    words: list[Word] = []
    for expired, entry in moves:
        words += (expired.job_id, to_ms(entry.due_at), entry.priority, _limit_of(entry))
        words.append(expired.deadline_ms)
    return words


def expired_words(expired: Sequence[ExpiredLease]) -> list[Word]:
    """Id and deadline of each."""
    words: list[Word] = []
    for lease in expired:
        words += (lease.job_id, lease.deadline_ms)
    return words


def owner_of(lease: Lease) -> str:
    """What the lease key holds."""
    return f"{lease.worker} {lease.lease_id}"


def _limit_of(entry: Entry) -> str:
    """The limit and its key; empty if it has none."""
    return "" if entry.limit is None else f"{entry.limit.text} {entry.limit.key}"
