"""The sweeper: what has ended long ago goes, and tombstones a day old (R2).

Jobs past their retention are buried, never deleted outright: the tombstone first, their executions
after it, the tombstone a day later and any executions that a crash left before it. So a job never
vanishes before its executions do, and no late redelivery or fire brings it back. Each pass is short
and each batch is followed by a rest that is a share of what the batch took: years of history that
are past their time at once, because somebody has set a retention, are worked off beside the jobs of
today, and slower where the machine is busy. What is left gets a batch each in turn, so that none of
them waits for another that never comes to its end. Any number of sweepers may run; what one has
buried the others pass over.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from pipeline.domain.states import State
from pipeline.ports import Chance, Clock, JobStore
from pipeline.telemetry import SWEPT
from pipeline.watchers.loop import Loop

_BATCH = 500
_PERIOD = timedelta(seconds=10)
_PASS_SECONDS = 2.0
_REST, _SHORTEST_REST_SECONDS = 0.5, 0.005
"""Two thirds of the time are work while there is any: more than jobs are stored and run at."""
_TOMBSTONE_KEPT = timedelta(days=1)
"""Longer than any redelivery takes."""

Sweep = Callable[[], Awaitable[int]]
"""One batch; how many were found. Fewer than a whole batch: nothing more is there."""


class Sweeper:
    """`retention`: how long jobs are kept in each final state; for ever in one that is missing."""

    def __init__(self, store: JobStore, clock: Clock, retention: Mapping[State, timedelta]) -> None:
        self._store = store
        self._clock = clock
        self._sweeps: Mapping[str, Sweep] = {"tombstones": self._sweep_tombstones} | {
            state.value: self._burying(state, kept) for state, kept in retention.items()
        }
        self._more = asyncio.Event()

    def loop(self, chance: Chance) -> Loop:
        """The loop that runs it."""
        return Loop("sweeper", self.step, _PERIOD, self._clock, chance, self._await_more)

    async def step(self) -> None:
        """One pass: until nothing old is left, or its time is up and the next one goes on."""
        ends = self._clock.monotonic() + _PASS_SECONDS
        left = deque(self._sweeps.items())
        while left and self._clock.monotonic() < ends:
            what, sweep = left.popleft()
            if await self._batch(what, sweep):
                left.append((what, sweep))
        if left:
            self._more.set()

    async def _batch(self, what: str, sweep: Sweep) -> bool:
        """Whether there may be more of it."""
        began = self._clock.monotonic()
        found = await sweep()
        SWEPT.labels(what).inc(found)
        if found < _BATCH:
            return False
        took = self._clock.monotonic() - began
        await self._clock.sleep(max(took * _REST, _SHORTEST_REST_SECONDS))
        return True

    async def _await_more(self) -> None:
        """Return at once after a pass whose time was up: it left work."""
        await self._more.wait()
        self._more.clear()

    async def _sweep_tombstones(self) -> int:
        return await self._store.sweep_buried(_TOMBSTONE_KEPT, _BATCH)

    def _burying(self, state: State, kept: timedelta) -> Sweep:
        async def bury() -> int:
            return await self._store.bury_ended(state, kept, _BATCH)

        return bury
