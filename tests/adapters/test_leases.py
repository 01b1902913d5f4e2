"""Leases, one suite on the fake and on Redis: who may try a job, until when, and who gives it back.

H-numbers are the holes of docs/explanation/protocol.md; each comment tells the interleaving.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.queue_worlds import TTL, World, a_world

AGES = TTL.total_seconds() + 1
"""Longer than any lease here."""


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


async def test_the_same_lease_id_again_gives_the_same_jobs(world: World) -> None:
    # The reply was lost: without this the jobs would wait for the reaper (R8).
    await world.queue.add([world.entry("a"), world.entry("b"), world.entry("c", due_in=60)])
    await world.lease("L1", limit=2)
    again = await world.lease("L1", limit=2)
    assert (again.job_ids, again.next_due_at) == (["a", "b"], world.due(60))


async def test_the_same_lease_id_again_gives_the_same_jobs_though_the_queue_was_paused(
    world: World,
) -> None:
    await world.add("a")
    await world.lease("L1")
    await world.queue.pause("default")
    assert (await world.lease("L1")).job_ids == ["a"]


async def test_another_lease_id_of_the_same_worker_gives_other_jobs(world: World) -> None:
    await world.add("a")
    await world.lease("L1")
    await world.add("b")
    assert (await world.lease("L2")).job_ids == ["b"]
    assert (await world.lease("L2", "w2")).job_ids == []


async def test_the_same_lease_id_after_a_wipe_leases_anew(world: World) -> None:
    await world.add("a")
    await world.lease("L1")
    world.wipe()
    await world.add("b")
    assert (await world.lease("L1")).job_ids == ["b"]


async def test_a_call_is_not_remembered_longer_than_its_lease(world: World) -> None:
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    assert (await world.lease("L1")).job_ids == []


async def test_an_acknowledged_lease_is_gone(world: World) -> None:
    await world.add("a")
    await world.lease("L1")
    await world.queue.ack([world.held("a", "L1")])
    snapshot = world.snapshot()
    assert (snapshot.leased, snapshot.owners) == ({}, {})
    world.advance(AGES)
    assert await world.expired() == {}


async def test_an_extended_lease_does_not_run_out(world: World) -> None:
    await world.add("a")
    await world.lease("L1")
    world.advance(20)
    await world.queue.extend([world.held("a", "L1")], TTL)
    world.advance(20)
    assert await world.expired() == {}
    assert world.snapshot().owners == {"a": "w1 L1"}


async def test_a_heartbeat_writes_leases_anew_after_a_wipe(world: World) -> None:
    await world.add("a")
    await world.lease("L1")
    world.wipe()
    await world.queue.extend([world.held("a", "L1")], TTL)
    assert await world.queue.leased("default", ["a", "b"]) == {"a"}
    assert world.snapshot().owners == {"a": "w1 L1"}


async def test_a_returned_job_that_is_due_goes_to_another_worker_at_once(world: World) -> None:
    await world.add("a")
    await world.lease("L1")
    world.take_token()
    await world.queue.give_back([(world.held("a", "L1"), world.entry("a"))])
    assert world.take_token()
    assert (await world.lease("L2", "w2")).job_ids == ["a"]


async def test_only_redis_says_due_and_a_returned_job_waits_for_its_time__h10(
    world: World,
) -> None:
    """H10: The worker leased a ghost: the job was postponed after it had been added. MongoDB
    refused the start; the job is still queued, so it must stay in Redis and not be dropped."""
    await world.add("a")
    await world.lease("L1")
    due_at = world.due(3)
    await world.queue.give_back([(world.held("a", "L1"), world.entry("a", due_in=3, priority=7))])
    early = await world.lease("L2")
    world.advance(3)
    assert (early.job_ids, early.next_due_at) == ([], due_at)
    assert (await world.lease("L3")).job_ids == ["a"]
    assert world.snapshot().owners == {"a": "w1 L3"}


async def test_an_old_lease_does_not_count_as_present__h11(world: World) -> None:
    """H11: Attempt 1 settled to pending, not yet acknowledged. A dispatcher writes `queued` and
    dies before it adds. The reconciler looks, once; then the acknowledgement arrives."""
    await world.add("a")
    await world.lease("L1")
    assert await world.queue.restore([world.entry("a")]) == ["a"]
    await world.queue.ack([world.held("a", "L1")])
    assert (await world.lease("L2", "w2")).job_ids == ["a"]


async def test_restore_leaves_alone_what_waits_already(world: World) -> None:
    await world.queue.add([world.entry("a", priority=9), world.entry("b", due_in=5, priority=9)])
    before = world.snapshot()
    others = [world.entry("a", due_in=7), world.entry("b", due_in=7), world.entry("c", due_in=7)]
    assert await world.queue.restore(others) == ["c"]
    after = world.snapshot()
    assert after.ready == before.ready
    assert after.delayed == before.delayed | {"c": int(world.due(7).timestamp() * 1000)}
    assert after.priority == {"b": 9}


async def test_nobody_acknowledges_or_returns_the_lease_of_another__h13(world: World) -> None:
    """H13: w1 leased as L1, was paused and lost the start; its lease ran out, the job went on as L2
    to w2. Now w1 wakes up and tidies: neither under another's lease nor under its own old one."""
    await world.add("a")
    await world.lease("L1", "w1")
    world.advance(AGES)
    await world.queue.requeue("default", [((await world.expired())["a"], world.entry("a"))])
    await world.lease("L2", "w2")
    for foreign in (world.held("a", "L1", "w1"), world.held("a", "L2", "w1")):
        await world.queue.ack([foreign])
        await world.queue.give_back([(foreign, world.entry("a"))])
    snapshot = world.snapshot()
    assert (snapshot.owners, snapshot.ready) == ({"a": "w2 L2"}, {})


async def test_of_a_batch_only_the_own_leases_are_acknowledged__h13(world: World) -> None:
    """H13: b is w2's by now; it must not be lost for being in one batch with a and c."""
    await world.queue.add([world.entry("a"), world.entry("b"), world.entry("c")])
    await world.lease("L1", "w1")
    await world.queue.extend([world.held("b", "L2", "w2")], TTL)
    await world.queue.ack([world.held(job, "L1") for job in ("a", "b", "c", "unknown")])
    assert world.snapshot().owners == {"b": "w2 L2"}


async def test_the_due_time_that_was_added_last_stands__h15(world: World) -> None:
    """H15: PATCH moves the job away and back while old members are there: one member, at the new
    time."""
    await world.add("a")
    await world.add("a", due_in=5, priority=8)
    assert (await world.lease("L1")).job_ids == []
    await world.add("a", due_in=3, priority=5)
    snapshot = world.snapshot()
    assert list(snapshot.delayed.values()) == [int(world.due(3).timestamp() * 1000)]
    assert (snapshot.ready, snapshot.priority) == ({}, {})
    await world.add("a", due_in=9, priority=8)
    await world.add("a", due_in=-1)
    snapshot = world.snapshot()
    assert (list(snapshot.ready), snapshot.delayed, snapshot.priority) == (["a"], {}, {})


async def test_a_job_is_added_though_its_old_lease_is_not_acknowledged__h16(world: World) -> None:
    """H16: Attempt 1 fails and is settled to pending, due now; a dispatcher queues and adds before
    the worker has acknowledged. "Add unless leased" would lose the job."""
    await world.add("a")
    await world.lease("L1", "w1")
    await world.add("a")
    await world.queue.ack([world.held("a", "L1", "w1")])
    assert (await world.lease("L2", "w2")).job_ids == ["a"]


async def test_a_second_lease_takes_nothing_from_who_runs_the_job__h20(world: World) -> None:
    """H20: The reconciler adds beside ingest's add: w1 starts under L1, w2 leases the second member
    as L2 and overwrites the key. w1's heartbeat (MongoDB: still running under L1) takes it back;
    w2, whose start was refused, drops its own lease, before or after."""
    await world.add("a")
    await world.lease("L1", "w1")
    await world.add("a")
    await world.lease("L2", "w2")
    assert world.snapshot().owners == {"a": "w2 L2"}
    await world.queue.extend([world.held("a", "L1", "w1")], TTL)
    await world.queue.ack([world.held("a", "L2", "w2")])
    assert world.snapshot().owners == {"a": "w1 L1"}
    await world.queue.ack([world.held("a", "L1", "w1")])
    assert world.snapshot().leased == {}
