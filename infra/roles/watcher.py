"""`dueq watcher`: dispatcher, scheduler, reaper, reconciler, sweeper, announcer in one process.

Any number of watchers run side by side and none is the leader (R12); a stop or a kill leaves
nothing that another watcher, or this one started again, does not find.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from infra.roles.clients import beside, declare, queue_of, store_of
from infra.roles.events import announcers_of
from infra.roles.presence import announce_watcher
from infra.roles.probes import serving
from infra.roles.running import Process, keep_time, never_unasked, run_role
from pipeline.ports import LeaseQueue, LiveNotes
from pipeline.queue.live_notes import RECORDING, RedisLiveNotes
from pipeline.store.job_store import MongoJobStore
from pipeline.watchers.announcer import Announcer
from pipeline.watchers.dispatcher import Dispatcher
from pipeline.watchers.loop import Loop
from pipeline.watchers.reaper import Reaper
from pipeline.watchers.reconciler import Reconciler
from pipeline.watchers.scheduler import Scheduler
from pipeline.watchers.sweeper import Sweeper


def run() -> None:
    """Until a signal."""
    run_role("watcher", _work)


async def _work(process: Process) -> None:
    async with (
        serving(process),
        store_of(process) as store,
        queue_of(process) as queue,
        announcers_of(process) as announcers,
        RedisLiveNotes(process.settings.redis_url, RECORDING) as notes,
    ):
        await declare(process)
        loops: Sequence[Loop | Announcer] = (*_loops(process, store, queue, notes), *announcers)

        def finish() -> None:
            for loop in loops:
                loop.stop()

        async with (
            beside(keep_time(process.clock, store), announce_watcher(process, queue)),
            asyncio.TaskGroup() as group,
        ):
            for loop in loops:
                group.create_task(never_unasked(loop.run()))
            process.ready(finish)


def _loops(
    process: Process, store: MongoJobStore, queue: LeaseQueue, notes: LiveNotes
) -> Sequence[Loop]:
    settings, clock, chance = process.settings, process.clock, process.chance
    poll = timedelta(seconds=settings.poll_seconds)
    return (
        Dispatcher(store, queue, settings.lookahead).loop(poll, clock, chance),
        Scheduler(store.schedules, store, queue, clock, notes).loop(chance),
        Reaper(store, queue, clock, settings.lease, notes).loop(chance),
        Reconciler(store, queue, clock, chance, settings.lease, notes).loop(),
        Sweeper(store, clock, settings.retention).loop(chance),
    )
