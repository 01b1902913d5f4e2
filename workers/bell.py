"""Waiting for a time or a sign, whichever comes first."""

import asyncio

from pipeline.ports import Clock


class Bell:
    """One waiter; a ring while nobody waits is kept, several are one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiter, or the next who would wait."""
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, or after `seconds`."""
        if not self._rung.is_set():
            async with asyncio.TaskGroup() as group:
                alarm = group.create_task(self._ring_after(seconds))
                await self._rung.wait()
                alarm.cancel()
        self._rung.clear()

    async def _ring_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._rung.set()
