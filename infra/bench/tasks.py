"""The job whose start is measured; workers of a bench import this module."""

import time
from typing import Any

from workers import Context, task


@task("bench.stamp")
async def stamp(payload: Any, context: Context) -> int:
    """The instant at which a job's code runs: this machine's clock, ns since 1970."""
    return time.time_ns()
