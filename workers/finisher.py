"""Ended attempts in batches: record → settle → ack (`pipeline.ending`).

A lone one goes at once; while a batch is being written the next gathers. An outage keeps them: they
are offered again until MongoDB answers, also when their lease has run out by then, since the
referee is the execution's id (R6), not the time. A crash loses what is here; the lease runs out,
the reaper records `lost` and the job runs again.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

from pipeline import ending
from pipeline.domain.execution import Execution, Outcome
from pipeline.ports import Attempt, Lease
from pipeline.telemetry import ENDED, LEASES_LOST, log
from workers.options import Ports
from workers.patience import Patience

_BATCH = 500
_RELIEF = 50
"""So many waiting while a batch is under way: a second one goes beside it."""

_log = log(__name__)
Offer = tuple[Execution, Lease]


class Finisher:
    """Takes endings, writes records. `on_settled` hears which attempts it is done with."""

    def __init__(self, ports: Ports, on_settled: Callable[[Sequence[Attempt]], None]) -> None:
        self._ports = ports
        self._patience = Patience(ports.clock, ports.chance)
        self._on_settled = on_settled
        self._waiting: deque[Offer] = deque()
        self._some, self._many = asyncio.Event(), asyncio.Event()
        self._closed = False

    def offer(self, execution: Execution, queue: str) -> None:
        """Take this record; it is written soon."""
        assert execution.worker is not None
        assert execution.lease_id is not None
        lease = Lease(execution.job_id, queue, execution.worker, execution.lease_id)
        self._waiting.append((execution, lease))
        self._some.set()
        if len(self._waiting) >= _RELIEF:
            self._many.set()

    async def run(self) -> None:
        """Write until `close`, and then what is left."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_batches(self._some, least=1))
            group.create_task(self._write_batches(self._many, least=_RELIEF))

    def close(self) -> None:
        """Nothing more will be offered."""
        self._closed = True
        self._some.set()
        self._many.set()

    async def _write_batches(self, enough: asyncio.Event, least: int) -> None:
        while True:
            while len(self._waiting) < least and not self._closed:
                enough.clear()
                await enough.wait()
            if not self._waiting:
                return
            await self._write(self._take())

    def _take(self) -> Sequence[Offer]:
        return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]

    async def _write(self, batch: Sequence[Offer]) -> None:
        try:
            standing = await self._end(batch)
        except Exception:
            await self._write_alone(batch)
            return
        _tell(batch, standing)
        self._on_settled([_attempt_of(execution) for execution, _ in batch])

    async def _end(self, batch: Sequence[Offer]) -> Sequence[Execution]:
        executions = [execution for execution, _ in batch]
        leases = [lease for _, lease in batch]
        step = partial(ending.end, executions, leases, self._ports.store, self._ports.queue)
        return await self._patience.persist("end", step, until=math.inf)

    async def _write_alone(self, batch: Sequence[Offer]) -> None:
        """One bad record never hurts its neighbours: find it, and leave it to the reaper."""
        if len(batch) > 1:
            _log.warning("end.failed", jobs=len(batch), next="each alone")
            for offer in batch:
                await self._write([offer])
            return
        (execution, _), *_ = batch
        _log.exception("end.failed", execution=execution.id, next="the reaper records it as lost")
        self._on_settled([_attempt_of(execution)])


def _attempt_of(execution: Execution) -> Attempt:
    assert execution.lease_id is not None
    return Attempt(execution.job_id, execution.attempt, execution.lease_id)


def _tell(batch: Sequence[Offer], standing: Sequence[Execution]) -> None:
    ended: Counter[tuple[str, Outcome]] = Counter()
    for (mine, lease), stands in zip(batch, standing, strict=True):
        if stands.outcome is mine.outcome and stands.lease_id == mine.lease_id:
            ended[lease.queue, mine.outcome] += 1
        else:
            LEASES_LOST.inc()
            _log.warning("record.refused", execution=mine.id, offered=mine.outcome.value,
                         stands=stands.outcome.value, next="what stands decides")  # fmt: skip
    for (queue, outcome), count in ended.items():
        ENDED.labels(queue, outcome).inc(count)
