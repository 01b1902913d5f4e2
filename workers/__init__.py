"""The hands: lease, start, run, end.

from workers import Context, task

@task("reports.nightly", timeout=60)
async def nightly(payload, context): ...     # or a plain def: it runs in a thread
"""

from workers.tasks import Context, Fail, Retry, task

__all__ = ["Context", "Fail", "Retry", "task"]
