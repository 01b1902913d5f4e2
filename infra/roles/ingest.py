"""`dueq ingest`: RabbitMQ → MongoDB (`pipeline.ingest`).

Stopped or killed in the middle of a batch it loses nothing: what was not acknowledged is delivered
to another, and the ids make that harmless.
"""

import asyncio
from contextlib import suppress

from infra.roles.clients import beside, declare, queue_of, store_of
from infra.roles.probes import serving
from infra.roles.running import Process, keep_time, never_unasked, run_role
from pipeline.broker.mailbox import RabbitMailbox
from pipeline.domain.errors import Unavailable
from pipeline.ingest import Ingest


def run() -> None:
    """Until a signal."""
    run_role("ingest", _work)


async def _work(process: Process) -> None:
    async with serving(process), store_of(process) as store, queue_of(process) as queue:
        await declare(process)
        mailbox = RabbitMailbox(process.settings.amqp_url, process.clock, process.chance)

        async def consumes() -> None:
            if not mailbox.connected:
                raise Unavailable("RabbitMQ", "not consuming")

        process.checks = {"MongoDB": process.checks["MongoDB"], "RabbitMQ": consumes}
        ingest = Ingest(mailbox, store, queue, process.clock, process.chance)
        async with beside(keep_time(process.clock, store)):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(never_unasked(ingest.run()))
                process.ready(finish=lambda: _cancel(task))
            with suppress(Unavailable):
                await mailbox.close()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
