"""A watcher says that it is there, three times a lease, for as long as it runs."""

import asyncio
import os
import platform
from contextlib import suppress

from infra.roles.running import Process
from pipeline.domain.errors import Unavailable
from pipeline.ports import LeaseQueue, WatcherView
from pipeline.stats import dueq_version
from pipeline.telemetry import log

_GOODBYE_SECONDS = 1.0
"""For the last words; without them the announcement runs out by itself."""
_log = log(__name__)


async def announce_watcher(process: Process, queue: LeaseQueue) -> None:
    """Until cancelled; then say goodbye. Redis away: again at the next turn."""
    lease = process.settings.lease
    view = WatcherView(
        id=process.chance.token(),
        host=platform.node(),
        pid=os.getpid(),
        version=dueq_version(),
        started_at=process.clock.now(),
    )
    try:
        while True:
            try:
                await queue.announce_watcher(view, lease * 2)
            except Unavailable as error:
                _log.warning("announce.failed", error=str(error), next="again soon")
            await process.clock.sleep(lease.total_seconds() / 3)
    finally:
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await queue.retract_watcher(view.id)
