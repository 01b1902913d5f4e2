"""What Redis has to hear of jobs that were just stored.

The truth is written by then, so a Redis that is away delays and loses nothing: the reconciler adds
what is due, the dispatcher finds the rest at its next poll (R4, R10).
"""

from collections.abc import Sequence
from datetime import datetime

from pipeline.domain.errors import Unavailable
from pipeline.domain.job import Entry
from pipeline.ports import SOON, LeaseQueue
from pipeline.telemetry import log

_log = log(__name__)


async def announce(entries: Sequence[Entry], now: datetime, queue: LeaseQueue) -> None:
    """Add what was due by `now`, and so was stored as `queued`; wake a dispatcher for what soon
    is."""
    due = [entry for entry in entries if entry.due_at <= now]
    soon = any(now < entry.due_at <= now + SOON for entry in entries)
    try:
        if due:
            await queue.add(due)
        if soon:
            await queue.wake_dispatcher()
    except Unavailable as error:
        _log.warning("add.failed", error=str(error), next="the reconciler adds them")
