"""What gateways know of workers over HTTP: one suite, in memory and on Redis."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from pipeline.ports import (
    OVER_HTTP,
    Attempt,
    HttpWorkers,
    LeaseQueue,
    Promise,
    WatcherView,
    WorkerView,
)
from pipeline.queue.http_workers import LOG_BYTES, RedisHttpWorkers
from pipeline.queue.lease_queue import RedisLeaseQueue
from tests.fakes.clock import START, ManualClock, SeededChance
from tests.fakes.http_workers import FakeHttpWorkers
from tests.fakes.lease_queue import FakeLeaseQueue
from tests.support import eventually

TTL = timedelta(seconds=30)
SHORT = timedelta(milliseconds=50)
VIEW = WorkerView("w-1", "host", 7, ["default", "mail"], 4, 0, START, OVER_HTTP)
PROMISE = Promise("w-1", "r-1", "default", "job", "lease", START)
ATTEMPT = Attempt("job", 2, "lease")


@dataclass
class Both:
    """The two ports, and how time passes."""

    workers: HttpWorkers
    queue: LeaseQueue
    clock: ManualClock | None = None

    async def gone(self) -> bool:
        """Whether w-1 is not listed (any more)."""
        if self.clock is not None:
            self.clock.advance(1)
        return not await self.queue.workers()


@pytest_asyncio.fixture(params=["fake", "redis"])
async def both(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Both]:
    clock = ManualClock()
    if request.param == "fake":
        queue = FakeLeaseQueue(clock)
        yield Both(FakeHttpWorkers(queue, clock), queue, clock)
        return
    async with (
        RedisHttpWorkers(redis_url) as workers,
        RedisLeaseQueue(redis_url, clock, SeededChance(1)) as real,
    ):
        yield Both(workers, real)


async def test_a_registered_worker_is_listed_until_it_falls_silent(both: Both) -> None:
    assert await both.workers.register(VIEW, TTL)
    assert await both.queue.workers() == [VIEW]
    assert await both.workers.heard("w-1", SHORT) == VIEW
    await eventually(both.gone)
    assert await both.workers.heard("w-1", TTL) is None


async def test_a_worker_is_listed_with_when_it_was_last_seen(both: Both) -> None:
    await both.workers.register(VIEW, TTL)
    (view,) = await both.queue.workers()
    assert view.last_seen_at is not None
    now = both.clock.now() if both.clock else datetime.now(UTC)
    assert abs(now - view.last_seen_at) < timedelta(seconds=30)


async def test_a_request_over_http_never_takes_the_place_of_another_worker(both: Both) -> None:
    await both.queue.announce_worker(replace(VIEW, extra={}), TTL)
    assert not await both.workers.register(VIEW, TTL)
    assert await both.workers.heard("w-1", TTL) is None
    assert await both.queue.workers() == [replace(VIEW, extra={})]


async def test_of_two_promises_to_one_request_the_first_stands(both: Both) -> None:
    await both.workers.register(VIEW, TTL)
    other = replace(PROMISE, job_id="other", lease_id="other")
    assert await both.workers.promised("w-1", "r-1") is None
    assert await both.workers.promise(PROMISE, 4, TTL) == PROMISE
    assert await both.workers.promise(other, 4, TTL) == PROMISE
    assert await both.workers.promise(PROMISE, 4, TTL) == PROMISE
    await both.workers.forget(other)
    assert await both.workers.promised("w-1", "r-1") == PROMISE
    await both.workers.forget(PROMISE)
    assert await both.workers.promised("w-1", "r-1") is None


async def test_a_worker_is_promised_no_more_than_it_may_run(both: Both) -> None:
    await both.workers.register(VIEW, TTL)
    promises = [replace(PROMISE, request=f"r-{n}", lease_id=f"lease-{n}") for n in range(4)]
    for promise in promises[:2]:
        assert await both.workers.promise(promise, 2, TTL) == promise
    assert await both.workers.promise(promises[2], 2, TTL) is None
    assert await both.workers.promised("w-1", "r-2") is None
    assert await both.workers.promise(promises[0], 2, TTL) == promises[0]
    assert await both.queue.workers() == [replace(VIEW, running=2)]
    assert await both.workers.runs("w-1", (), ["lease-0", "unknown"], TTL) == 1
    assert await both.workers.promise(promises[2], 2, TTL) == promises[2]
    await both.workers.register(replace(VIEW, id="w-2"), TTL)
    other = replace(promises[3], worker="w-2")
    assert await both.workers.promise(other, 1, TTL) == other


async def test_a_worker_that_has_gone_is_promised_nothing_more(both: Both) -> None:
    """What was promised before is still what its request is given."""
    await both.workers.register(VIEW, TTL)
    assert await both.workers.promise(PROMISE, 4, TTL) == PROMISE
    await both.workers.retire("w-1")
    other = replace(PROMISE, request="r-2", lease_id="other")
    assert await both.workers.promise(other, 4, TTL) is None
    assert await both.workers.promised("w-1", "r-2") is None
    assert await both.workers.promise(PROMISE, 4, TTL) == PROMISE
    assert await both.queue.workers() == []


async def test_what_a_worker_runs_counts_for_a_lease_or_as_long_as_it_says_so(both: Both) -> None:
    await both.workers.register(VIEW, TTL)
    assert await both.workers.runs("w-1", ["a", "b"], (), TTL) == 2
    assert await both.workers.runs("w-1", ["a"], ["c"], SHORT) == 2

    async def one() -> bool:
        if both.clock is not None:
            both.clock.advance(1)
        return await both.workers.runs("w-1", (), (), TTL) == 1

    await eventually(one)
    assert await both.queue.workers() == [replace(VIEW, running=1)]


async def test_ten_thousand_jobs_of_a_worker_are_counted(both: Both) -> None:
    leases = [f"lease-{number}" for number in range(10_000)]
    assert await both.workers.runs("w-1", leases, (), TTL) == 10_000
    assert await both.workers.runs("w-1", (), leases[1:], TTL) == 1
    assert await both.queue.workers() == []  # nobody of that name has registered


async def test_a_worker_over_http_goes_and_nobody_else(both: Both) -> None:
    await both.workers.register(VIEW, TTL)
    await both.queue.announce_worker(replace(VIEW, id="p-1", extra={}), TTL)
    assert await both.workers.retire("w-1")
    assert not await both.workers.retire("w-1")
    assert not await both.workers.retire("p-1")
    assert [view.id for view in await both.queue.workers()] == ["p-1"]


async def test_requests_and_workers_do_not_share_promises(both: Both) -> None:
    await both.workers.register(VIEW, TTL)
    await both.workers.promise(PROMISE, 4, TTL)
    assert await both.workers.promised("w-1", "r-2") is None
    assert await both.workers.promised("w-2", "r-1") is None


async def test_what_an_attempt_writes_is_kept_in_order(both: Both) -> None:
    await both.workers.write_log(ATTEMPT, "one\n", TTL)
    await both.workers.write_log(ATTEMPT, "two\n", TTL)
    assert await both.workers.log(ATTEMPT) == "one\ntwo\n"
    assert await both.workers.log(Attempt("job", 3, "lease")) == ""


async def test_of_much_that_is_written_the_end_is_kept_in_whole_characters(both: Both) -> None:
    await both.workers.write_log(ATTEMPT, "ä" * LOG_BYTES, TTL)
    await both.workers.write_log(ATTEMPT, "x", TTL)
    assert await both.workers.log(ATTEMPT) == "ä" * (LOG_BYTES // 2 - 1) + "x"


async def test_a_watcher_is_listed_until_it_goes_or_falls_silent(both: Both) -> None:
    views = [WatcherView(name, "host", 7, "1.0", START) for name in ("a", "b")]
    for view in views:
        await both.queue.announce_watcher(view, TTL)
    assert await both.queue.watchers() == views
    await both.queue.retract_watcher("a")
    assert await both.queue.watchers() == views[1:]
    await both.queue.announce_watcher(views[1], SHORT)

    async def gone() -> bool:
        if both.clock is not None:
            both.clock.advance(1)
        return not await both.queue.watchers()

    await eventually(gone)
