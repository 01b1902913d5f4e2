"""The index, one suite on the fake and on Redis: what is due, in which order, what a wipe leaves.

H-numbers are the holes of docs/explanation/protocol.md; each comment tells the interleaving.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipeline.domain.priority import HIGHEST, LOWEST, ready_score
from tests.fakes.clock import START
from tests.queue_worlds import TTL, World, a_world


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


# -- order and due times


async def test_a_due_job_goes_to_one_worker_only(world: World) -> None:
    await world.add("a")
    first, second = await world.lease("L1", "w1"), await world.lease("L2", "w2")
    assert (first.job_ids, second.job_ids) == (["a"], [])
    assert world.snapshot().owners == {"a": "w1 L1"}


async def test_jobs_come_by_priority_then_by_due_time(world: World) -> None:
    await world.add("late", due_in=-1)
    await world.add("early", due_in=-2)
    await world.add("urgent", priority=HIGHEST)
    await world.add("idle", due_in=-9, priority=LOWEST)
    assert (await world.lease("L1")).job_ids == ["urgent", "early", "late", "idle"]


async def test_a_job_is_never_leased_before_it_is_due(world: World) -> None:
    await world.add("a", due_in=2)
    due_at = world.due(2)
    world.advance(1.999)
    early = await world.lease("L1")
    world.advance(0.001)
    on_time = await world.lease("L2")
    assert (early.job_ids, early.next_due_at) == ([], due_at)
    assert (on_time.job_ids, on_time.next_due_at, on_time.judged_at) == (["a"], None, due_at)


async def test_a_delayed_job_keeps_its_priority(world: World) -> None:
    for priority in range(LOWEST, HIGHEST + 1):
        await world.add(f"p{priority}", due_in=5, priority=priority)
    world.advance(5)
    leased = (await world.lease("L1")).job_ids
    assert leased == [f"p{priority}" for priority in range(HIGHEST, LOWEST - 1, -1)]
    assert world.snapshot().priority == {}


async def test_every_score_is_the_domains(world: World) -> None:
    for priority in range(LOWEST, HIGHEST + 1):
        await world.add(f"now{priority}", priority=priority)
        await world.add(f"soon{priority}", due_in=1, priority=priority)
    world.advance(1)
    await world.lease("L1", limit=1)
    now_ms, soon_ms = int(START.timestamp() * 1000), int(START.timestamp() * 1000) + 1000
    scores = {f"now{p}": ready_score(p, now_ms) for p in range(LOWEST, HIGHEST)}
    scores |= {f"soon{p}": ready_score(p, soon_ms) for p in range(LOWEST, HIGHEST + 1)}
    assert world.snapshot().ready == scores


async def test_no_more_than_the_limit_is_leased_and_the_rest_stays(world: World) -> None:
    await world.queue.add([world.entry(f"j{n}", due_in=-9 + n) for n in range(5)])
    assert (await world.lease("L1", limit=2)).job_ids == ["j0", "j1"]
    assert (await world.lease("L2", limit=9)).job_ids == ["j2", "j3", "j4"]


async def test_a_batch_may_be_longer_than_one_script_call_takes(world: World) -> None:
    jobs = [f"j{n}" for n in range(2500)]
    await world.queue.add([world.entry(job) for job in jobs])
    leases = []
    for number in range(3):
        grant = await world.lease(f"L{number}", limit=5000)
        leases += [world.held(job, f"L{number}") for job in grant.job_ids]
    assert sorted(lease.job_id for lease in leases) == sorted(jobs)
    await world.queue.extend(leases, TTL)
    assert await world.queue.leased("default", jobs) == set(jobs)
    await world.queue.ack(leases)
    assert world.snapshot().leased == {}


async def test_one_call_may_speak_of_several_queues(world: World) -> None:
    await world.queue.add([world.entry("a"), world.entry("b", queue="mail")])
    assert (await world.lease("L1")).job_ids == ["a"]
    assert (await world.lease("L2", queue="mail")).job_ids == ["b"]
    await world.queue.ack([world.held("a", "L1"), world.held("b", "L2", queue="mail")])
    assert await world.queue.restore([world.entry("a"), world.entry("b", queue="mail")]) == [
        "a",
        "b",
    ]
    assert await world.queue.queues() == {"default", "mail"}


@pytest.mark.parametrize("dues", [(0, 5), (5, 0)])
async def test_a_job_named_twice_in_one_call_waits_in_one_place(
    world: World, dues: tuple[float, float]
) -> None:
    await world.queue.add([world.entry("a", due_in=due, priority=7) for due in dues])
    snapshot = world.snapshot()
    assert [*snapshot.ready, *snapshot.delayed] == ["a"]


async def test_an_empty_batch_does_nothing(world: World) -> None:
    await world.queue.add([])
    assert list(await world.queue.restore([])) == []
    await world.queue.extend([], TTL)
    await world.queue.ack([])
    await world.queue.give_back([])
    assert await world.queue.requeue("default", []) == await world.queue.drop("default", []) == 0
    assert await world.queue.leased("default", []) == frozenset()
    assert await world.queue.queues() == frozenset()


# -- generations and wiping


async def test_a_wipe_shows_in_the_generation_of_each_queue__h18(world: World) -> None:
    """H18: One key for all queues would miss a wiped shard; a key of one's own per queue is gone
    with it."""
    before = await world.queue.incarnation("default")
    assert before.generation is None
    await world.queue.begin_generation("default", "g1")
    begun = await world.queue.incarnation("default")
    assert (begun.generation, begun.replication_id) == ("g1", before.replication_id)
    assert (await world.queue.incarnation("mail")).generation is None
    world.wipe()
    assert (await world.queue.incarnation("default")).generation is None


async def test_the_incarnations_of_many_queues_are_those_of_each__h18(world: World) -> None:
    """H18: A look that takes a second for a thousand queues would see the last as it was later."""
    names = [f"q{number}" for number in range(1001)]
    await world.queue.begin_generation("q1000", "g1")
    found = await world.queue.incarnations(names)
    assert list(found) == names
    assert found["q1000"] == await world.queue.incarnation("q1000")
    assert (found["q1000"].generation, found["q7"].generation) == ("g1", None)
    assert await world.queue.incarnations([]) == {}


async def test_a_generation_that_was_begun_stands__h18(world: World) -> None:
    """H18: Two reconcilers see it missing. The second must find the first one's value, not replace
    it: else each takes the other's for a wipe, for ever."""
    await world.queue.begin_generation("default", "g1")
    await world.queue.begin_generation("default", "g2")
    assert (await world.queue.incarnation("default")).generation == "g1"


async def test_a_generation_that_is_begun_names_the_queue_again(world: World) -> None:
    # This process has named the queue before the wipe and does not do so again with each add.
    await world.add("a")
    world.wipe()
    await world.add("a")
    await world.queue.begin_generation("default", "g1")
    assert await world.queue.queues() == {"default"}
