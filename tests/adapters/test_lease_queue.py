"""One suite for the index, run on the fake and on Redis. H-numbers are the holes of
docs/explanation/protocol.md; each comment tells the interleaving.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from pipeline.domain.priority import HIGHEST, LOWEST, ready_score
from pipeline.ports import Death, ExpiredLease, WorkerView
from tests.fakes.clock import START, ManualClock
from tests.queue_worlds import TTL, FakeWorld, RedisWorld, World
from tests.support import eventually

AGES = TTL.total_seconds() + 1
"""Longer than any lease here."""


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld(ManualClock())
        return
    world = RedisWorld(redis_url, ManualClock())
    async with world.real:
        yield world
    world.raw.close()


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


# -- leases


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


async def test_the_reaper_spares_a_job_that_was_leased_again__h12(world: World) -> None:
    """H12: The reaper reads "L1 ran out, document pending" and stops. The job is queued again and
    leased as L2. The reaper goes on and would remove the lease of L2, whose worker then dies."""
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    seen = await world.expired()
    await world.add("a")
    await world.lease("L2", "w2")
    assert await world.queue.drop("default", [seen["a"]]) == 0
    assert await world.queue.requeue("default", [(seen["a"], world.entry("a"))]) == 0
    assert world.snapshot().owners == {"a": "w2 L2"}
    world.advance(AGES)
    assert list(await world.expired()) == ["a"]


async def test_what_the_reaper_decided_of_one_lease_is_not_done_to_the_next__h12(
    world: World,
) -> None:
    """H12: As before, but L2 has run out as well when the reaper goes on: still not the one it
    saw."""
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    seen = await world.expired()
    await world.add("a")
    await world.lease("L2", "w2")
    world.advance(AGES)
    assert await world.queue.drop("default", [seen["a"]]) == 0
    assert await world.queue.requeue("default", [(seen["a"], world.entry("a"))]) == 0
    assert list(await world.expired()) == ["a"]


async def test_the_reaper_spares_a_lease_that_was_extended_meanwhile__h12(world: World) -> None:
    """H12: After an outage the worker's heartbeat comes between the reaper's look and its move."""
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    seen = await world.expired()
    await world.queue.extend([world.held("a", "L1")], TTL)
    assert await world.queue.drop("default", [seen["a"]]) == 0
    assert await world.queue.requeue("default", [(seen["a"], world.entry("a"))]) == 0
    assert world.snapshot().owners == {"a": "w1 L1"}


async def test_a_lease_that_runs_is_neither_dropped_nor_moved__h12(world: World) -> None:
    """H12: whoever the reaper is and whatever it believes, only an expired lease is its."""
    await world.add("a")
    await world.lease("L1")
    running = ExpiredLease("a", world.snapshot().leased["a"])
    assert await world.queue.drop("default", [running]) == 0
    assert await world.queue.requeue("default", [(running, world.entry("a"))]) == 0
    assert list(world.snapshot().leased) == ["a"]


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


async def test_removing_a_released_lease_leaves_the_waiting_member__h14(world: World) -> None:
    """H14: A worker releases (document pending) and dies before it gives back. The job is
    dispatched again and waits; only then the reaper removes the old lease."""
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    seen = await world.expired()
    await world.add("a")
    assert await world.queue.drop("default", [seen["a"]]) == 1
    assert (await world.lease("L2", "w2")).job_ids == ["a"]


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


async def test_a_lease_that_ran_out_is_left_to_the_reaper(world: World) -> None:
    await world.add("a")
    await world.lease("L1")
    world.advance(AGES)
    await world.queue.ack([world.held("a", "L1")])
    await world.queue.give_back([(world.held("a", "L1"), world.entry("a"))])
    assert list(await world.expired()) == ["a"]
    assert world.snapshot().ready == {}


async def test_leases_expire_at_their_deadline_the_oldest_first(world: World) -> None:
    for number in range(3):
        await world.add(f"j{number}")
        await world.lease(f"L{number}")
        world.advance(1)
    world.advance(TTL.total_seconds() - 4)
    assert await world.expired() == {}
    world.advance(2)
    seen = await world.queue.expired("default", 10)
    assert [lease.job_id for lease in seen] == ["j0", "j1"]
    assert await world.queue.expired("default", 1) == seen[:1]


async def test_an_expired_lease_is_moved_back_once_and_wakes(world: World) -> None:
    await world.add("a", priority=8)
    await world.add("b")
    await world.lease("L1")
    world.advance(AGES)
    seen = await world.expired()
    world.take_token()
    moves = [(seen["a"], world.entry("a", priority=8)), (seen["b"], world.entry("b", due_in=5))]
    assert await world.queue.requeue("default", moves) == 2
    assert await world.queue.requeue("default", moves) == 0
    assert world.take_token()
    snapshot = world.snapshot()
    assert (list(snapshot.ready), list(snapshot.delayed), snapshot.leased) == (["a"], ["b"], {})


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


# -- looking and steering


async def test_nothing_is_leased_from_a_paused_queue(world: World) -> None:
    await world.add("a")
    await world.add("b", due_in=1)
    await world.queue.pause("default")
    paused = await world.lease("L1")
    assert (paused.job_ids, paused.paused, paused.next_due_at) == ([], True, None)
    assert (await world.queue.view("default")).paused
    world.take_token()
    await world.queue.resume("default")
    assert world.take_token()
    resumed = await world.lease("L2")
    assert (resumed.job_ids, resumed.paused) == (["a"], False)


async def test_a_pause_holds_for_one_queue_alone(world: World) -> None:
    await world.queue.pause("mail")
    await world.add("a")
    assert (await world.lease("L1")).job_ids == ["a"]


async def test_a_view_counts_what_is_due_as_ready_though_nobody_fetched_it(world: World) -> None:
    await world.add("old", due_in=-5, priority=0)
    await world.add("new", due_in=-1, priority=9)
    await world.add("soon", due_in=2)
    await world.add("later", due_in=60)
    await world.add("running", due_in=-9, priority=9)
    await world.lease("L1", limit=1)
    world.advance(2)
    view = await world.queue.view("default")
    assert (view.delayed, view.ready, view.leased, view.paused) == (1, 3, 1, False)
    assert view.oldest_wait == timedelta(seconds=7)


async def test_the_views_of_many_queues_are_those_of_each_in_order(world: World) -> None:
    await world.add("a", due_in=-3, priority=7)
    await world.queue.pause("q3")
    names = ["q3", "default", *(f"q{number}" for number in range(4, 1010))]
    views = await world.queue.views(names)
    assert [view.name for view in views] == names
    assert views[1] == await world.queue.view("default")
    assert (views[1].ready, views[1].oldest_wait) == (1, timedelta(seconds=3))
    assert [view.name for view in views if view.paused] == ["q3"]
    assert list(await world.queue.views([])) == []


async def test_the_oldest_wait_may_be_that_of_a_job_nobody_fetched(world: World) -> None:
    await world.add("a", due_in=1)
    world.advance(4)
    assert (await world.queue.view("default")).oldest_wait == timedelta(seconds=3)


async def test_a_queue_that_nobody_knows_is_empty(world: World) -> None:
    view = await world.queue.view("nothing")
    assert (view.name, view.delayed, view.ready, view.leased) == ("nothing", 0, 0, 0)
    assert view.oldest_wait == timedelta()
    assert list(await world.queue.peek("nothing", 5)) == []


async def test_a_peek_shows_the_order_in_which_jobs_will_be_leased(world: World) -> None:
    await world.add("later", due_in=60, priority=9)
    await world.add("sooner", due_in=30)
    await world.add("fetched", due_in=-1)
    await world.add("urgent", due_in=2, priority=9)
    world.advance(2)
    peeked = await world.queue.peek("default", 10)
    assert [(p.job_id, p.priority, p.ready) for p in peeked] == [
        ("urgent", 9, True),
        ("fetched", 5, True),
        ("sooner", 5, False),
        ("later", 9, False),
    ]
    assert peeked[0].due_at == world.due(0)
    assert await world.queue.peek("default", 1) == peeked[:1]


async def test_workers_are_known_until_they_fall_silent(world: World) -> None:
    views = [
        WorkerView(name, "host", 7, ["default", "mail"], 4, 2, START, {"version": "1"})
        for name in ("w1", "w2")
    ]
    for view in views:
        await world.queue.announce_worker(view, TTL)
    assert await world.queue.workers() == views
    await world.queue.announce_worker(replace(views[0], running=0, extra={}), TTL)
    assert await world.queue.workers() == [replace(views[0], running=0, extra={}), views[1]]
    await world.queue.retract_worker("w1")
    assert await world.queue.workers() == views[1:]


async def test_the_end_of_a_worker_is_remembered_under_its_id(world: World) -> None:
    await world.queue.announce_worker(WorkerView("w1", "here", 7, ["default"], 4, 2, START), TTL)
    await world.queue.announce_worker(WorkerView("w2", "there", 7, ["default"], 4, 2, START), TTL)
    death = Death(pid=7, host="here", signal="SIGKILL", exit_code=None, log="its last words")
    assert await world.queue.report_death(death)
    assert await world.queue.deaths(["w1", "w2"]) == {"w1": death}
    assert [view.id for view in await world.queue.workers()] == ["w2"]
    assert not await world.queue.report_death(replace(death, pid=8))
    assert await world.queue.deaths([]) == {}


# -- waking


async def test_a_push_wakes_one_sleeper(world: World) -> None:
    async with asyncio.TaskGroup() as workers:
        tasks = [workers.create_task(world.queue.await_work("default")) for _ in range(2)]
        await eventually(lambda: world.sleeping() == 2)
        await world.add("a")
        await eventually(lambda: any(task.done() for task in tasks))
        assert world.sleeping() == 1
        await world.add("b")


async def test_a_push_that_nobody_waits_for_wakes_the_next_who_does(world: World) -> None:
    await world.add("a")
    await asyncio.wait_for(world.queue.await_work("default"), 5)
    assert not world.take_token()


async def test_one_token_is_enough(world: World) -> None:
    for number in range(5):
        await world.add(f"j{number}")
    assert world.take_token()
    assert not world.take_token()


async def test_a_worker_that_took_its_fill_wakes_the_next(world: World) -> None:
    # A crowd wakes one by one, as far as there is work.
    await world.queue.add([world.entry("a"), world.entry("b"), world.entry("c")])
    assert world.take_token()
    await world.lease("L1", "w1", limit=2)
    assert world.take_token()
    await world.lease("L2", "w2", limit=2)
    assert not world.take_token()


async def test_a_worker_that_took_its_fill_leaves_the_next_due_time_to_another(
    world: World,
) -> None:
    # w1 alone has its timer set to b. It takes a, is full, and would sleep through b.
    await world.add("a")
    await world.add("b", due_in=1)
    world.take_token()
    await world.lease("L1", "w1", limit=1)
    assert world.take_token()
    assert (await world.lease("L2", "w2", limit=1)).next_due_at == world.due(1)
    assert not world.take_token()


async def test_a_job_due_sooner_than_all_others_wakes(world: World) -> None:
    # Sleepers have set their timers to the first due time that they heard of.
    await world.add("a", due_in=10)
    assert world.take_token()
    await world.add("b", due_in=20)
    assert not world.take_token()
    await world.add("c", due_in=5)
    assert world.take_token()
    assert await world.queue.restore([world.entry("d", due_in=4)]) == ["d"]
    assert world.take_token()


async def test_a_wake_up_can_be_passed_on(world: World) -> None:
    await world.queue.pass_on("default")
    await world.queue.pass_on("default")
    assert world.take_token()
    assert not world.take_token()


async def test_a_dispatcher_is_woken_when_a_pending_job_was_written(world: World) -> None:
    async with asyncio.TaskGroup() as dispatchers:
        waiting = dispatchers.create_task(world.queue.await_dispatch())
        await world.queue.wake_dispatcher()
        await asyncio.wait_for(waiting, 5)


async def test_a_nudge_reaches_its_worker_also_one_that_was_not_listening(world: World) -> None:
    await world.queue.nudge("w1")
    await world.queue.nudge("w1")
    await asyncio.wait_for(world.queue.await_nudge("w1"), 5)
    async with asyncio.TaskGroup() as workers:
        waiting = workers.create_task(world.queue.await_nudge("w1"))
        await world.queue.nudge("w2")
        await asyncio.sleep(0)
        assert not waiting.done(), "two nudges are one, and another's is none of ours"
        await world.queue.nudge("w1")
        await asyncio.wait_for(waiting, 5)
