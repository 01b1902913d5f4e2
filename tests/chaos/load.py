"""The load: jobs of many ways in, at a steady pace.

Single and batched over HTTP, single and as arrays over AMQP; some due a few seconds later (as
`run_at`, as `delay`), some failing once or twice, all of them short. Drawn from a seed.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.chaos.client import AmqpClient, HttpClient, Ledger, Wish
from tests.chaos.system import System

Sent = Coroutine[Any, Any, None]
LONGEST_RUN = 0.1
LATEST = 4.0
BATCH = 25
ARRAY = 10


@dataclass(frozen=True, slots=True)
class Load:
    """How much, and how fast."""

    jobs: int
    per_second: float
    seed: int = 1


class Gate:
    """How many jobs may be sent by now: so that, on a slow machine too, every fault falls into the
    middle of the load and not behind its end."""

    def __init__(self) -> None:
        self._open_to = 0
        self._moved = asyncio.Event()

    def open_to(self, jobs: int) -> None:
        """Let so many pass in all."""
        self._open_to = jobs
        self._moved.set()

    async def let_pass(self, jobs: int) -> None:
        """Return when so many may pass in all."""
        while jobs > self._open_to:
            self._moved.clear()
            await self._moved.wait()


@asynccontextmanager
async def run_load(system: System, load: Load, ledger: Ledger, gate: Gate) -> AsyncIterator[None]:
    """Runs beside the body; leaving waits until everything is accepted."""
    gateways = [member.url for member in system.of("gateway")]
    async with (
        HttpClient(gateways, ledger) as http,
        AmqpClient(system.urls.amqp or "", ledger) as amqp,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_send_all(_Shipper(http, amqp, load), load.per_second, gate))
        yield


async def _send_all(shipper: "_Shipper", per_second: float, gate: Gate) -> None:
    sent = 0
    async with asyncio.TaskGroup() as group:
        for number, (size, ship) in enumerate(shipper.shipments()):
            sent += size
            await gate.let_pass(sent)
            group.create_task(ship(f"load-{number}"))
            await asyncio.sleep(size / per_second)


class _Shipper:
    """Cuts the load into shipments, in an order drawn by lot."""

    def __init__(self, http: HttpClient, amqp: AmqpClient, load: Load) -> None:
        self._http = http
        self._amqp = amqp
        self._chance = random.Random(load.seed)
        self._left = load.jobs

    def shipments(self) -> Iterator[tuple[int, Callable[[str], Sent]]]:
        """How many jobs each has, and what sends it under a key."""
        while self._left:
            lot = self._chance.random()
            if lot < 0.70:
                yield 1, self._single(self._http.submit)
            elif lot < 0.90:
                yield 1, self._single(self._amqp.submit)
            elif lot < 0.96:
                yield self._several(BATCH, self._http.submit_batch)
            else:
                yield self._several(ARRAY, self._amqp.submit_array)

    def _single(self, submit: Callable[[str, Wish], Sent]) -> Callable[[str], Sent]:
        self._left -= 1
        wish = self._wish()
        return lambda key: submit(key, wish)

    def _several(
        self, most: int, submit: Callable[[str, list[Wish]], Sent]
    ) -> tuple[int, Callable[[str], Sent]]:
        size = min(most, self._left)
        self._left -= size
        wishes = [self._wish() for _ in range(size)]
        return size, lambda key: submit(key, wishes)

    def _wish(self) -> Wish:
        chance = self._chance
        is_later = chance.random() < 0.3
        return Wish(
            seconds=chance.uniform(0, LONGEST_RUN),
            failures=chance.choices((0, 1, 2), (0.9, 0.07, 0.03))[0],
            later=chance.uniform(0.1, LATEST) if is_later else 0.0,
            as_delay=chance.random() < 0.3,
        )
