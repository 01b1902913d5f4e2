"""How a child of ours ended, when it is started again, and what the reaper is told of it.

The reaper attaches it to the jobs that a worker took with it, as the evidence of a loss.

Only what was seen is said: the signal or exit code, and the last lines of the output, which are
those of all jobs that ran there. Redis may be away, or the worker may have ended before it
announced itself: then there is no evidence, and nothing waits for it.
"""

import asyncio
import platform
from contextlib import suppress

from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.errors import Unavailable
from pipeline.ports import Death
from pipeline.queue.lease_queue import RedisLeaseQueue
from workers.executors.executor import signal_name

TAIL_BYTES = 8192
"""So much of the output is enough for its last lines."""
_TAIL_LINES = 12
_BACKOFF_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
_PATIENCE_SECONDS = 2.0
"""The worker is started again after that, whatever Redis says."""


class Backoff:
    """When a child is started again: at once the first time, then with growing pauses."""

    def __init__(self) -> None:
        self._failures = 0

    def pause(self, lived: float = 0.0) -> float:
        """Seconds to wait after it has lived so long; who lived well begins anew."""
        lived_well = lived > 2 * _BACKOFF_SECONDS[-1]
        self._failures = 1 if lived_well else self._failures + 1
        return _BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS)) - 1]


def cause(code: int) -> str:
    """In words; `code` as of `subprocess`: negative is a signal."""
    return signal_name(-code) if code < 0 else f"exit code {code}"


def last_lines(output: bytes | bytearray) -> list[str]:
    """The end of what it has printed."""
    return output.decode(errors="replace").splitlines()[-_TAIL_LINES:]


def death_of(pid: int, code: int, printed: list[str]) -> Death:
    """The end of a life; `code` as of `subprocess`."""
    return Death(
        pid=pid,
        host=platform.node(),
        signal=signal_name(-code) if code < 0 else None,
        exit_code=None if code < 0 else code,
        log="\n".join(printed),
    )


async def report(death: Death, redis_url: str) -> bool:
    """Write it down, if Redis answers soon; whether it was a worker that had announced itself."""
    with suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            async with RedisLeaseQueue(redis_url, StoreClock(), SystemChance()) as queue:
                return await queue.report_death(death)
    return False
