"""The brokers that amqp jobs publish to: the default one, and any that a job names by its URL.

Each has a connection of its own, not the pipeline's, so that a broker that is slow, full or away
hurts only the jobs that go there. The default one's is kept; of the others no more stay open than
`MOST_IDLE` that nobody uses, and none that nobody has used for a minute or two: so the connection
of a URL that was replaced goes by itself.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from pipeline.broker.kept import Kept
from pipeline.broker.target import RabbitTarget
from pipeline.ports import Clock

MOST_IDLE = 16
IDLE_SECONDS = 60.0


class RabbitTargets:
    """Opens connections as they are needed. `run` must run for idle ones to be closed."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        self._default = RabbitTarget(url)
        self._others = Kept(_new, RabbitTarget.close, lambda _: True, MOST_IDLE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._default.close()
        await self._others.close()

    @asynccontextmanager
    async def to(self, url: str | None) -> AsyncIterator[RabbitTarget]:
        """The broker of this URL, None: the default one."""
        if url is None:
            yield self._default
        else:
            async with self._others.use(url) as target:
                yield target

    async def run(self) -> None:
        """Close what is idle, until cancelled."""
        while True:
            await self._clock.sleep(IDLE_SECONDS)
            await self._others.close_unused()


async def _new(url: str) -> RabbitTarget:
    return RabbitTarget(url)
