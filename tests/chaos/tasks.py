"""The job of the chaos tests: `dueq worker --import tests.chaos.tasks`."""

import asyncio
from typing import Any

from tests.chaos.sink import Seen, witness
from workers import Context, task

NAME = "chaos.work"


class Failing(Exception):
    """This attempt was asked to fail."""


@task(NAME)
async def work(payload: dict[str, Any], context: Context) -> int:
    """Run for `payload.seconds`; the first `payload.failures` attempts fail."""
    witness(Seen.STARTED, context.job_id, context.attempt)
    await asyncio.sleep(payload["seconds"])
    if context.attempt <= payload["failures"]:
        witness(Seen.FAILED, context.job_id, context.attempt)
        raise Failing(f"attempt {context.attempt} of {payload['failures']} that fail")
    witness(Seen.ENDED, context.job_id, context.attempt)
    return context.attempt
