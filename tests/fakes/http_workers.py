"""Workers over HTTP in memory; `tests/adapters/test_http_workers.py` runs one suite on both.

They are listed beside the others, so the lease queue's fake keeps them.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from pipeline.domain.instants import to_ms
from pipeline.ports import Attempt, Clock, Promise, WorkerView
from pipeline.queue.http_workers import LOG_BYTES
from tests.fakes.faults import Faulty, may_fail
from tests.fakes.lease_queue import FakeLeaseQueue

_MS = timedelta(milliseconds=1)


class FakeHttpWorkers(Faulty):
    """`pipeline.ports.HttpWorkers` in memory."""

    def __init__(self, queue: FakeLeaseQueue, clock: Clock) -> None:
        super().__init__("Redis")
        self._queue = queue
        self._clock = clock
        self._promises: dict[tuple[str, str], tuple[Promise, int]] = {}
        self._logs: dict[tuple[str, int], tuple[str, int]] = {}
        self._places: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def wipe(self) -> None:
        """FLUSHALL."""
        self._promises.clear()
        self._places.clear()
        self._logs.clear()

    @may_fail
    async def register(self, view: WorkerView, ttl: timedelta) -> bool:
        """As the port says."""
        found = await self._find(view.id)
        if found is not None and not found.is_over_http:
            return False
        await self._queue.announce_worker(view, ttl)
        return True

    @may_fail
    async def retire(self, worker: str) -> bool:
        """As the port says."""
        found = await self._find(worker)
        if found is None or not found.is_over_http:
            return False
        await self._queue.retract_worker(worker)
        return True

    @may_fail
    async def heard(self, worker: str, ttl: timedelta) -> WorkerView | None:
        """As the port says."""
        found = await self._find(worker)
        if found is None or not found.is_over_http:
            return None
        await self._queue.announce_worker(found, ttl)
        return await self._find(worker)

    @may_fail
    async def promise(self, promise: Promise, most: int, ttl: timedelta) -> Promise | None:
        """As the port says."""
        stands = await self.promised(promise.worker, promise.request)
        if stands is not None:
            return stands
        is_known = await self._find(promise.worker) is not None
        if not is_known or await self.runs(promise.worker, [], [], ttl) >= most:
            return None
        await self.runs(promise.worker, [promise.lease_id], [], ttl)
        name = (promise.worker, promise.request)
        self._promises[name] = (promise, self._now() + ttl // _MS)
        return promise

    @may_fail
    async def runs(
        self, worker: str, leases: Sequence[str], over: Sequence[str], ttl: timedelta
    ) -> int:
        """As the port says."""
        now, places = self._now(), self._places[worker]
        for lease in [*over, *(lease for lease, until in places.items() if until <= now)]:
            places.pop(lease, None)
        places.update(dict.fromkeys(leases, now + ttl // _MS))
        self._queue.tell_running(worker, len(places))
        return len(places)

    @may_fail
    async def promised(self, worker: str, request: str) -> Promise | None:
        """As the port says."""
        promise, until = self._promises.get((worker, request), (None, 0))
        return promise if until > self._now() else None

    @may_fail
    async def forget(self, promise: Promise) -> None:
        """As the port says."""
        if await self.promised(promise.worker, promise.request) == promise:
            del self._promises[promise.worker, promise.request]

    @may_fail
    async def write_log(self, attempt: Attempt, text: str, ttl: timedelta) -> None:
        """As the port says."""
        kept = (await self.log(attempt) + text).encode()[-LOG_BYTES:]
        text = kept.decode(errors="ignore")
        self._logs[attempt.job_id, attempt.attempt] = (text, self._now() + ttl // _MS)

    @may_fail
    async def log(self, attempt: Attempt) -> str:
        """As the port says."""
        text, until = self._logs.get((attempt.job_id, attempt.attempt), ("", 0))
        return text if until > self._now() else ""

    async def _find(self, worker: str) -> WorkerView | None:
        return next((view for view in await self._queue.workers() if view.id == worker), None)

    def _now(self) -> int:
        return to_ms(self._clock.now())
