"""Limits on a real Redis: what they cost, what is bounded, full memory, and what is put right."""

from typing import Any

import pytest

from infra.local.servers import Urls
from pipeline.domain.errors import Unavailable
from pipeline.domain.instants import to_ms
from pipeline.domain.job import Entry
from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit, Rate
from pipeline.ports import Lease
from pipeline.queue import scripts
from pipeline.queue.keys import keys_of
from tests.limited_jobs import add
from tests.queue_worlds import RedisWorld, a_world
from tests.real_queue import TTL, lease, queue_at, raw, redis_now
from tests.servers import private_local_servers

KEYS = keys_of("default")


async def test_a_full_redis_passes_the_slots_of_keys_on() -> None:
    # What ends a lease, and what takes a token, begins with a write that frees, too; and what is
    # refused is refused as a whole.
    async with private_local_servers(Urls(amqp="unused:", mongo="unused:")) as servers:
        assert servers.urls.redis
        url, one = servers.urls.redis, KeyLimit(key="a", concurrency=1, rate=Rate(count=9))
        async with queue_at(url) as queue:
            now = redis_now(url)
            await queue.add([Entry(job, "default", now, limit=one) for job in "abc"])
            with raw(url) as client:
                client.config_set("maxmemory", "1")
                with pytest.raises(Unavailable, match="maxmemory"):
                    await queue.add([Entry("d", "default", now, 9, one)])
                assert client.hlen("dueq:{default}:limit:of") == 3
            assert (await lease(queue, "L1")).job_ids == ["a"]
            a = Lease("a", "default", "w1", "L1", "a")
            await queue.extend([a], TTL)
            await queue.give_back([(a, Entry("a", "default", now, limit=one))])
            await queue.recount("default")
            for job in "abc":
                assert (await lease(queue, f"L2{job}")).job_ids == [job]
                await queue.ack([Lease(job, "default", "w1", f"L2{job}")])
            assert (await queue.view("default")).ready == 0


async def test_a_recount_calls_a_line_that_everybody_has_forgotten(redis_url: str) -> None:
    now, one = redis_now(redis_url), KeyLimit(key="a", concurrency=1)
    async with queue_at(redis_url) as queue:
        await queue.add([Entry(job, "default", now, limit=one) for job in "ab"])
        await lease(queue, "L1")
        with raw(redis_url) as client:
            client.zrem("dueq:{default}:limit:keys", "a")
        await queue.ack([Lease("a", "default", "w1", "L1")])
        assert (await lease(queue, "L2")).job_ids == []
        await queue.recount("default")
        assert (await lease(queue, "L3")).job_ids == ["b"]


async def test_a_recount_frees_the_slot_beside_where_a_job_waits(redis_url: str) -> None:
    # It was put in anew while it ran, and its lease is gone without a word.
    now, one = redis_now(redis_url), KeyLimit(key="a", concurrency=1)
    async with queue_at(redis_url) as queue:
        await queue.add([Entry("a", "default", now, limit=one)])
        await lease(queue, "L1")
        await queue.restore([Entry("a", "default", now, limit=one)])
        with raw(redis_url) as client:
            client.delete("dueq:{default}:leased", "dueq:{default}:lease:a")
        assert (await lease(queue, "L2")).job_ids == []
        await queue.recount("default")
        assert (await lease(queue, "L3")).job_ids == ["a"]


async def test_one_that_drives_thousands_out_of_ready_does_so_in_steps(redis_url: str) -> None:
    # Redis serves nobody else meanwhile. With the next job of the key it goes on.
    now = redis_now(redis_url)
    fast, alone = KeyLimit(key="a", rate=Rate(count=3000)), KeyLimit(key="a", concurrency=1)
    async with queue_at(redis_url) as queue:
        jobs = [f"j{number:04}" for number in range(2500)]
        await queue.add([Entry(job, "default", now, limit=fast) for job in jobs])
        await queue.add([Entry("u", "default", now, 9, alone)])
        assert (await queue.view("default")).limited == 1001
        await queue.add([Entry("v", "default", now, 0, fast)])
        assert (await queue.view("default")).limited == 2002
        await queue.add([Entry("w", "default", now, 0, fast)])
        assert (await lease(queue, "L1")).job_ids[0] == "u"


async def test_a_lease_costs_the_same_beside_many_blocked_jobs_as_beside_few(
    redis_url: str,
) -> None:
    now = redis_now(redis_url)
    full, free = KeyLimit(key="a", concurrency=1), KeyLimit(key="c", concurrency=1)
    costs = []
    async with queue_at(redis_url) as queue:
        with raw(redis_url) as client:
            await queue.add([Entry(f"a{n}", "default", now, 5, full) for n in range(3)])
            await lease(queue, "L0")
            for more in (0, 20_000):
                await queue.add([Entry(f"b{n}", "default", now, 5, full) for n in range(more)])
                await queue.add([Entry(f"c{more}", "default", now, 0, free)])
                before = commands(client)
                assert (await lease(queue, f"L{more + 1}")).job_ids == [f"c{more}"]
                costs.append(commands(client) - before)
                await queue.ack([Lease(f"c{more}", "default", "w1", f"L{more + 1}")])
    assert costs[0] == costs[1]


async def test_who_uses_no_limits_asks_redis_for_nothing_more(redis_url: str) -> None:
    async with queue_at(redis_url) as queue:
        with raw(redis_url) as client:
            await queue.add([Entry("a", "default", redis_now(redis_url))])
            await lease(queue, "L0")
            await queue.ack([Lease("a", "default", "w1", "L0")])
            await queue.add([Entry("b", "default", redis_now(redis_url))])
            before = commands(client)
            assert (await lease(queue, "L1")).job_ids == ["b"]
            # script, clock, grant and state, due, pop, lease key, leased, grant, next due
            assert commands(client) - before == 9
            before = commands(client)
            await queue.ack([Lease("b", "default", "w1", "L1")])
            # script, lease keys and state, delete, remove
            assert commands(client) - before == 4


@pytest.mark.parametrize(
    ("own", "has_keys", "each"),
    # of each job its lease key
    [(NO_LIMIT, False, 1), (Limit(concurrency=99, rate=Rate(count=99)), False, 1),
     (Limit(concurrency=99), True, 1)],
    ids=["no limit", "the queue's own", "of each job's key"],
)  # fmt: skip
async def test_what_a_limit_asks_of_redis_it_asks_for_a_batch_and_not_for_each_job(
    redis_url: str, own: Limit, has_keys: bool, each: int
) -> None:
    now, costs = redis_now(redis_url), []
    async with queue_at(redis_url) as queue:
        await queue.limit("default", own)
        with raw(redis_url) as client:
            for jobs in (1, 2, 9):  # the first finds out which limits there are
                names = [f"{jobs}-{number}" for number in range(jobs)]
                await queue.add([
                    Entry(name, "default", now, limit=KeyLimit(key=name, concurrency=1))
                    if has_keys else Entry(name, "default", now)
                    for name in names
                ])  # fmt: skip
                before = commands(client)
                assert len((await lease(queue, f"L{jobs}")).job_ids) == jobs
                await queue.ack([Lease(name, "default", "w1", f"L{jobs}") for name in names])
                costs.append(commands(client) - before)
    assert costs[2] - costs[1] == 7 * each


async def test_a_lease_writes_down_who_needs_a_token_and_asks_for_none(redis_url: str) -> None:
    now, costs = redis_now(redis_url), []
    async with queue_at(redis_url) as queue:
        with raw(redis_url) as client:
            for jobs in (1, 2, 9):  # the first finds out which limits there are
                names = [f"{jobs}-{number}" for number in range(jobs)]
                await queue.add([
                    Entry(name, "default", now, limit=KeyLimit(key=name, rate=Rate(count=1)))
                    for name in names
                ])  # fmt: skip
                before = commands(client)
                assert len((await lease(queue, f"L{jobs}")).job_ids) == jobs
                costs.append(commands(client) - before)
                await queue.ack([Lease(name, "default", "w1", f"L{jobs}") for name in names])
    assert costs[2] - costs[1] == 7  # of each job its lease key


async def test_what_is_written_down_of_leases_does_not_grow_for_ever(redis_url: str) -> None:
    now, fast = redis_now(redis_url), KeyLimit(key="a", rate=Rate(count=9000))
    async with queue_at(redis_url) as queue:
        jobs = [f"{number:08d}-0000-7000-8000-000000000000" for number in range(2000)]
        await queue.add([Entry(job, "default", now, limit=fast) for job in jobs])
        with raw(redis_url) as client:
            for number in range(20):
                assert len((await lease(queue, f"L{number}", limit=100)).job_ids) == 100
                assert client.strlen("dueq:{default}:limit:started") <= 8_000
            assert client.zcard("dueq:{default}:limit:claims") < 500


async def test_of_names_however_short_all_that_is_written_down_is_taken_at_once(
    redis_url: str,
) -> None:
    # A script can name no more than some 8,000 words in one command.
    now, slow = redis_now(redis_url), Rate(count=1, per=60)
    async with queue_at(redis_url) as queue:
        jobs = [f"{number:x}" for number in range(5000)]
        await queue.add([
            Entry(job, "default", now, limit=KeyLimit(key=job, rate=slow)) for job in jobs
        ])  # fmt: skip
        for number in range(5):
            assert len((await lease(queue, f"L{number}", limit=1000)).job_ids) == 1000


async def test_a_rate_is_not_forgotten_while_somebody_who_has_started_owes_it_a_token(
    redis_url: str,
) -> None:
    # Leased between the pages of a recount, while the last token before was not back yet.
    slow = KeyLimit(key="a", rate=Rate(count=2, per=60))
    async with a_world("redis", redis_url) as world:
        assert isinstance(world, RedisWorld)
        await add(world, "abcd", slow)
        await world.lease("L1", limit=1)
        world.advance(15)
        await world.lease("L2", limit=1)
        world.advance(15)
        now = to_ms(world.clock.now())
        world.raw.eval(scripts.FORGET.text, len(KEYS.all), *KEYS.all, now, "0")
        grant = await world.lease("L3")
        assert (grant.job_ids, grant.next_due_at) == (["c"], world.due(30))


def commands(client: Any) -> int:
    """How many commands Redis has run, those of scripts too, without this question."""
    stats = client.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name != "cmdstat_info")
