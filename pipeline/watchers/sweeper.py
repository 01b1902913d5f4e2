"""The sweeper: tombstones a day old are deleted, their executions before them (R2)."""

from datetime import timedelta

from pipeline.ports import Chance, Clock, JobStore
from pipeline.watchers.loop import Loop

_BATCH = 500
_PERIOD = timedelta(minutes=5)
_KEPT = timedelta(days=1)


class Sweeper:
    """Deletes what is buried for longer than any redelivery takes."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def loop(self, clock: Clock, chance: Chance) -> Loop:
        """The loop that runs it."""
        return Loop("sweeper", self.step, _PERIOD, clock, chance)

    async def step(self) -> None:
        """Sweep until nothing old is left."""
        while await self._store.sweep_buried(_KEPT, _BATCH) == _BATCH:
            pass
