"""The announcer of a watcher, with connections of its own.

A round may wait for RabbitMQ or for something to happen; what the other loops do goes past it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from infra.roles.clients import longest_call
from infra.roles.running import Process
from pipeline.broker.event_outlet import RabbitEventOutlet
from pipeline.store.event_feed import MongoEventFeed
from pipeline.watchers.announcer import Announcer


@asynccontextmanager
async def announcers_of(process: Process) -> AsyncIterator[Sequence[Announcer]]:
    """One, or none where events are off."""
    if process.settings.events == "off":
        yield ()
        return
    patience = longest_call(process.role, process.settings)
    feed = MongoEventFeed(process.settings.mongo_url, process.chance, patience)
    outlet = RabbitEventOutlet(process.settings.amqp_url, process.clock)
    try:
        yield (Announcer(feed, outlet, process.clock, process.chance),)
    finally:
        await outlet.close()
        feed.close()
