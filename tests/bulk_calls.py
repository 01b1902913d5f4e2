"""Calls on many jobs, and what they are about."""

from datetime import timedelta

from pipeline.bulk import Bulk
from pipeline.domain.execution import ErrorInfo, Failed
from pipeline.ports import JobFilter, JobStore
from tests.fakes.world import World

BOOM = Failed(ErrorInfo("Boom", "it broke"))
FATAL = Failed(ErrorInfo("Boom", "it broke"), retryable=False)
EVERYTHING = JobFilter()
NAMED = JobFilter(name="n")
MANY = 1_000


def bulk(world: World, store: JobStore | None = None) -> Bulk:
    """One that may take 20 seconds."""
    return Bulk(store or world.store, world.queue, world.clock, timedelta(seconds=20))
