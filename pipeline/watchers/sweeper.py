"""The sweeper: what has ended long ago goes, and tombstones a day old (R2).

Jobs past their retention are buried, never deleted outright: the tombstone first, their executions
after it, the tombstone a day later and any executions that a crash left before it. So a job never
vanishes before its executions do, and no late redelivery or fire brings it back. Each pass is short
and each batch is followed by a pause: years of history that are past their time at once, because
somebody has set a retention, are worked off beside the jobs of today. Any number of sweepers may
run; what one has buried the others pass over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from pipeline.domain.states import State
from pipeline.ports import Chance, Clock, JobStore
from pipeline.telemetry import SWEPT
from pipeline.watchers.loop import Loop

_BATCH = 500
_PERIOD = timedelta(seconds=10)
_PASS_SECONDS = 2.0
_PAUSE_SECONDS, _BREATH_SECONDS = 0.05, 1.0
_TOMBSTONE_KEPT = timedelta(days=1)
"""Longer than any redelivery takes."""


class Sweeper:
    """`retention`: how long jobs are kept in each final state; for ever in one that is missing."""

    def __init__(self, store: JobStore, clock: Clock, retention: Mapping[State, timedelta]) -> None:
        self._store = store
        self._clock = clock
        self._retention = dict(retention)
        self._more = asyncio.Event()

    def loop(self, chance: Chance) -> Loop:
        """The loop that runs it."""
        return Loop("sweeper", self.step, _PERIOD, self._clock, chance, self._await_more)

    async def step(self) -> None:
        """One pass: until nothing old is left, or its time is up and the next one goes on.

        Tombstones come first: they are what makes room.
        """
        ends = self._clock.monotonic() + _PASS_SECONDS
        await self._repeat("tombstones", self._sweep_tombstones, ends)
        for state, kept in self._retention.items():
            await self._repeat(state.value, self._burying(state, kept), ends)

    async def _repeat(self, what: str, batch: Callable[[], Awaitable[int]], ends: float) -> None:
        while self._clock.monotonic() < ends:
            found = await batch()
            SWEPT.labels(what).inc(found)
            if found < _BATCH:
                return
            await self._clock.sleep(_PAUSE_SECONDS)
        self._more.set()

    async def _await_more(self) -> None:
        """Return a moment after a pass whose time was up: it left work."""
        await self._more.wait()
        self._more.clear()
        await self._clock.sleep(_BREATH_SECONDS)

    async def _sweep_tombstones(self) -> int:
        return await self._store.sweep_buried(_TOMBSTONE_KEPT, _BATCH)

    def _burying(self, state: State, kept: timedelta) -> Callable[[], Awaitable[int]]:
        async def bury() -> int:
            return await self._store.bury_ended(state, kept, _BATCH)

        return bury
