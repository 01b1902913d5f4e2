"""What `dueq up` saw of the end of a worker, written down for the reaper.

The reaper attaches it to the jobs that the worker took with it, as the evidence of a loss.

Only what was seen is said: the signal or exit code, and the last lines of the log, which are those
of all jobs that ran there. Redis may be away, or the worker may have ended before it announced
itself: then there is no evidence, and nothing waits for it.
"""

import asyncio
import platform
from contextlib import suppress

from infra.up.member import Supervised
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.errors import Unavailable
from pipeline.ports import Death
from pipeline.queue.lease_queue import RedisLeaseQueue
from workers.executors.executor import signal_name

_PATIENCE_SECONDS = 2.0
"""The worker is started again after that, whatever Redis says."""


def death_of(member: Supervised, pid: int, code: int) -> Death:
    """The end of a life of this member; `code` as of `subprocess`: negative is a signal."""
    name = signal_name(-code) if code < 0 else None
    return Death(
        pid=pid,
        host=platform.node(),
        signal=name,
        exit_code=None if code < 0 else code,
        log="\n".join(member.last_lines),
    )


async def report(death: Death, redis_url: str) -> bool:
    """Write it down, if Redis answers soon; whether it was a worker that had announced itself."""
    with suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            async with RedisLeaseQueue(redis_url, StoreClock(), SystemChance()) as queue:
                return await queue.report_death(death)
    return False
