"""What only a real Redis can show: its own clock, expiry, lost replies, restarts, full memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from infra.local.servers import Urls
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.job import Entry
from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit, Rate
from pipeline.ports import Death, Grant, Lease, WatcherView, WorkerView
from pipeline.queue.keys import (
    EVERY_KEY,
    LIVE,
    PLACES,
    PROMISE,
    SICK_TARGET,
    SICK_TARGETS,
    WRITTEN,
    keys_of,
)
from pipeline.queue.lease_queue import RedisLeaseQueue
from tests.fakes.clock import ManualClock, SeededChance
from tests.real_queue import TTL, lease, queue_at, raw, redis_now
from tests.servers import private_local_servers
from tests.support import eventually

KEYS = keys_of("default")


class Proxy:
    """Stands between queue and Redis and can lose what comes back."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self.lose = 0
        """How many replies to lose, each with its connection."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            yield self._to._replace(netloc=f"127.0.0.1:{port}").geturl()
        await server.wait_closed()

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, there = await asyncio.open_connection(self._to.hostname, self._to.port)
        try:
            while request := await near.read(1 << 20):
                there.write(request)
                reply = await far.read(1 << 20)
                if b"EVAL" in request and self.lose and not reply.startswith(b"-NOSCRIPT"):
                    self.lose -= 1
                    break
                back.write(reply)
                await back.drain()
        finally:
            for writer in (there, back):
                writer.close()


async def test_due_is_judged_by_the_clock_of_redis(redis_url: str) -> None:
    async with queue_at(redis_url) as queue:
        due_at = redis_now(redis_url).replace(microsecond=0) + timedelta(seconds=1.2)
        await queue.add([Entry("a", "default", due_at)])
        first = await lease(queue, "L1")
        assert (first.job_ids, first.next_due_at) == ([], due_at)
        assert abs(first.judged_at - redis_now(redis_url)) < timedelta(seconds=1)
        numbers = iter(range(2, 10_000))
        grant = await eventually(lambda: _leased(queue, f"L{next(numbers)}"))
        assert grant
        assert due_at <= grant.judged_at <= redis_now(redis_url)


async def _leased(queue: RedisLeaseQueue, lease_id: str) -> Grant | None:
    grant = await lease(queue, lease_id)
    return grant if grant.job_ids else None


async def test_a_grant_tells_the_instant_of_redis_to_the_microsecond(redis_url: str) -> None:
    async with queue_at(redis_url) as queue:
        for limits in (NO_LIMIT, Limit(concurrency=5)):
            await queue.limit("default", limits)
            before = redis_now(redis_url)
            told = [(await lease(queue, f"L{number}")).judged_at for number in range(10)]
            assert before <= told[0]
            assert told == sorted(told)
            assert told[-1] <= redis_now(redis_url)
            assert any(instant.microsecond % 1000 for instant in told)


async def test_lease_grant_and_worker_expire_by_themselves(redis_url: str) -> None:
    async with queue_at(redis_url) as queue:
        short = timedelta(milliseconds=200)
        await queue.add([Entry("a", "default", redis_now(redis_url))])
        await queue.lease("default", worker="w1", lease_id="L1", limit=1, ttl=short)
        await queue.extend([Lease("b", "default", "w1", "L1")], short)
        view = WorkerView("w1", "host", 1, ["default"], 1, 0, datetime.now(UTC))
        await queue.announce_worker(view, short)
        with raw(redis_url) as client:
            lasting = {"dueq:queues", "dueq:workers", KEYS.leased, KEYS.wake}
            await eventually(lambda: set(client.keys("*")) <= lasting)
        assert await queue.workers() == []
        expired = await queue.expired("default", 5)
        assert sorted(lease.job_id for lease in expired) == ["a", "b"]


async def test_every_key_is_documented_and_has_its_type(redis_url: str) -> None:
    now = redis_now(redis_url)
    async with queue_at(redis_url) as queue:
        await queue.add([Entry("a", "default", now), Entry("b", "default", now)])
        await queue.add([Entry("c", "default", now + TTL, priority=9)])
        limit = KeyLimit(key="k", concurrency=1, rate=Rate(count=1, per=60))
        await queue.add([Entry(job, "default", now, 9, limit) for job in ("d", "e")])
        other = KeyLimit(key="l", rate=Rate(count=1, per=60))
        await queue.add([Entry("f", "default", now, 0, other)])
        await queue.limit("default", Limit(concurrency=9))
        await queue.lease("default", worker="w1", lease_id="L1", limit=2, ttl=TTL)
        await queue.restore([Entry("d", "default", now, 9, limit)])
        await queue.add([Entry("g", "default", now, 9, KeyLimit(key="m", rate=Rate(count=1)))])
        await queue.lease("default", worker="w1", lease_id="L2", limit=1, ttl=TTL)
        await queue.begin_generation("default", "g")
        await queue.pause("default")
        await queue.wake_dispatcher()
        view = WorkerView("w1", "host", 1, ["default"], 1, 0, now)
        await queue.announce_worker(view, TTL)
        await queue.report_death(Death(1, "host", "SIGKILL", None, ""))
        await queue.announce_worker(view, TTL)
        await queue.announce_watcher(WatcherView("w1", "host", 1, "1.0", now), TTL)
        await queue.nudge("w1")
    with raw(redis_url) as client:
        seen = {name: client.type(name) for name in client.keys("*")}
    names = {"<queue>": "default", "<job id>": "a", "<worker id>": "w1", "<id>": "w1"}
    names["<key>"] = "k"
    expected = {}
    for key in EVERY_KEY:
        if key in (SICK_TARGETS, SICK_TARGET, LIVE, PLACES, PROMISE, WRITTEN):
            continue  # of other adapters
        name = key.pattern
        for placeholder, value in names.items():
            name = name.replace(placeholder, value)
        expected[name] = key.type
    assert seen == expected | {KEYS.lease_prefix + job: "string" for job in "dg"}


async def test_a_lost_reply_orphans_no_lease(redis_url: str) -> None:
    # Redis leased, the connection died before the reply came. The adapter says the same again
    # under the same lease id and gets the same jobs.
    proxy = Proxy(redis_url)
    async with proxy.running() as url, queue_at(url) as queue:
        await queue.add([Entry(job, "default", redis_now(redis_url)) for job in ("a", "b")])
        proxy.lose = 1
        assert (await lease(queue, "L1")).job_ids == ["a", "b"]
        assert proxy.lose == 0


async def test_a_reply_lost_twice_is_an_unknown_outcome_and_the_caller_may_repeat(
    redis_url: str,
) -> None:
    proxy = Proxy(redis_url)
    async with proxy.running() as url, queue_at(url) as queue:
        await queue.add([Entry("a", "default", redis_now(redis_url))])
        proxy.lose = 2
        with pytest.raises(UnknownOutcome):
            await lease(queue, "L1")
        assert (await lease(queue, "L1")).job_ids == ["a"]


async def test_a_cancelled_call_leaves_no_reply_to_the_next(redis_url: str) -> None:
    # Were its connection used again, the next call would read the answer of this one.
    async with queue_at(redis_url) as queue:
        with raw(redis_url) as client:
            client.client_pause(300)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await queue.view("default")
        assert await queue.queues() == frozenset()


async def test_redis_that_forgot_the_scripts_is_told_them_again(redis_url: str) -> None:
    async with queue_at(redis_url) as queue:
        await queue.add([Entry("a", "default", redis_now(redis_url))])
        with raw(redis_url) as client:
            client.script_flush()
        assert (await lease(queue, "L1")).job_ids == ["a"]
        with raw(redis_url) as client:
            client.script_flush()
        assert [view.leased for view in await queue.views(["mail", "default", "b"])] == [0, 1, 0]


async def test_a_refused_connection_is_unavailable_at_once() -> None:
    async with queue_at("redis://127.0.0.1:1/0") as queue:
        with pytest.raises(Unavailable) as refused:
            await queue.queues()
        assert not isinstance(refused.value, UnknownOutcome)


async def test_a_wrong_type_of_key_is_unavailable_and_says_why(redis_url: str) -> None:
    async with queue_at(redis_url) as queue:
        with raw(redis_url) as client:
            client.set(KEYS.ready, "not ours")
        with pytest.raises(Unavailable, match="WRONGTYPE"):
            await lease(queue, "L1")


async def test_a_sleeper_gets_up_when_redis_is_away_and_longer_each_time() -> None:
    clock = ManualClock()
    async with RedisLeaseQueue("redis://127.0.0.1:1/0", clock, SeededChance(1)) as queue:
        waits = []
        for _ in range(12):
            began = clock.monotonic()
            waiting = asyncio.ensure_future(queue.await_work("default"))
            await eventually(lambda: clock.sleeping)
            while not waiting.done():
                await clock.run(0.01)
            waits.append(clock.monotonic() - began)
        assert waits[0] < 0.2
        assert 2 < waits[-1] <= 5.1


async def test_after_a_restart_the_next_call_succeeds() -> None:
    # All idle connections are dead; the one repeat must not be spent on another of them.
    async with private_local_servers(Urls(amqp="unused:", mongo="unused:")) as servers:
        assert servers.redis
        assert servers.urls.redis
        async with queue_at(servers.urls.redis) as queue:
            await asyncio.gather(*(queue.view("default") for _ in range(5)))
            before = await queue.incarnation("default")
            await servers.redis.stop()
            with pytest.raises(Unavailable):
                await queue.view("default")
            await servers.redis.start()
            assert (await queue.view("default")).ready == 0
            after = await queue.incarnation("default")
            assert after.replication_id != before.replication_id


async def test_a_full_redis_still_lets_its_jobs_run() -> None:
    # Only putting in is refused. Leases, heartbeats and acknowledgements begin with a write that
    # frees, so Redis allows the rest of the script.
    async with private_local_servers(Urls(amqp="unused:", mongo="unused:")) as servers:
        assert servers.urls.redis
        url = servers.urls.redis
        async with queue_at(url) as queue:
            now = redis_now(url)
            await queue.add([Entry("a", "default", now)])
            await queue.add([Entry("b", "default", now + timedelta(milliseconds=1), 9)])
            with raw(url) as client:
                client.config_set("maxmemory", "1")
            with pytest.raises(Unavailable, match="maxmemory"):
                await queue.add([Entry("c", "default", now)])
            await eventually(lambda: redis_now(url) > now + timedelta(milliseconds=1))
            assert (await lease(queue, "L1")).job_ids == ["b", "a"]
            leases = [Lease(job, "default", "w1", "L1") for job in ("a", "b")]
            await queue.extend(leases, TTL)
            await queue.give_back([(leases[0], Entry("a", "default", now))])
            assert (await lease(queue, "L2")).job_ids == ["a"]
            await queue.ack(leases)


async def test_the_server_is_looked_at(redis_url: str) -> None:
    async with queue_at(redis_url) as queue:
        facts = await queue.check_server()
    assert int(facts.version.split(".")[0]) >= 7
    facts.require_noeviction()
