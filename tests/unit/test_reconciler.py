"""Redis is made to match MongoDB, by any number of reconcilers, after whatever became of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from pipeline.domain.errors import Unavailable
from pipeline.domain.execution import ErrorInfo, Failed, Outcome, Succeeded, conclude
from pipeline.domain.job import Job
from pipeline.domain.limits import NO_LIMIT, Limit
from pipeline.domain.states import State
from pipeline.ports import JobStore, LeaseQueue
from pipeline.watchers.reconciler import Reconciler
from tests.fakes.interposed import Died, die, interposed
from tests.fakes.job_store import FakeJobStore
from tests.fakes.lease_queue import FakeLeaseQueue
from tests.fakes.world import LEASE, LOOKAHEAD, World, lease_of

pytestmark = pytest.mark.unit

GRACE = 5.0
SECONDS = LEASE.total_seconds()


@pytest.fixture
async def world() -> World:
    world = World()
    world.clock.advance(1000)  # no machine boots at monotonic zero
    await world.queue.begin_generation("default", "g1")
    return world


def a_reconciler(
    world: World, *, store: JobStore | None = None, queue: LeaseQueue | None = None
) -> Reconciler:
    return Reconciler(store or world.store, queue or world.queue, world.clock, world.chance, LEASE)


async def look_for(world: World, reconciler: Reconciler, seconds: float) -> None:
    """A look a second, as its loop does."""
    for _ in range(round(seconds)):
        await reconciler.step()
        world.clock.advance(1)
    await reconciler.step()


async def at_ease(
    world: World, *, store: JobStore | None = None, queue: LeaseQueue | None = None
) -> Reconciler:
    """One that has made its first full pass with this queue, some time ago."""
    await world.store.bury(await world.stored())  # the queue is known
    reconciler = a_reconciler(world, store=store, queue=queue)
    await look_for(world, reconciler, 10)
    return reconciler


# -- queued, but not in Redis


async def test_whoever_starts_restores_all_that_is_queued_at_once(world: World) -> None:
    jobs = [await world.stored(queue=queue) for queue in "abab"]
    await world.stored(delay=60)
    await a_reconciler(world).step()
    for job_id, queue in zip(jobs, "abab", strict=True):
        assert not world.is_waiting(job_id, queue), "it was stored in this very millisecond"
    world.clock.advance(0.001)
    await a_reconciler(world).step()
    for job_id, queue in zip(jobs, "abab", strict=True):
        assert world.is_waiting(job_id, queue)
    assert (await world.queue.view("default")).delayed == 0


async def test_a_job_that_never_reached_redis_is_added_after_its_grace(world: World) -> None:
    """Ingest or dispatcher died between MongoDB and Redis."""
    reconciler = await at_ease(world)
    job_id = await world.stored()
    await look_for(world, reconciler, GRACE - 1)
    assert not world.is_waiting(job_id), "it may be on its way"
    await look_for(world, reconciler, 2)
    assert world.is_waiting(job_id)


async def test_a_job_is_restored_with_its_due_time_and_priority(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await world.stored(delay=20, priority=9)
    await world.store.dispatch(timedelta(seconds=30), 10)
    await look_for(world, reconciler, 7)
    (peeked,) = await world.queue.peek("default", 10)
    assert (peeked.job_id, peeked.priority, peeked.ready) == (job_id, 9, False)
    assert peeked.due_at == (await world.job(job_id)).due_at


async def test_what_is_there_is_not_added_a_second_time(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await world.ready()
    await look_for(world, reconciler, 10)
    assert (await world.queue.view("default")).ready == 1
    assert [job.id for job in await world.run("l1")] == [job_id]


async def test_a_write_that_shows_up_late_is_not_passed_over(world: World) -> None:
    """`queued_at` is stamped before the write. The write takes four seconds beyond its stamp's
    grace: by then the window has moved past the stamp, and it reaches back for that."""
    reconciler = await at_ease(world)
    stamped = world.now
    await look_for(world, reconciler, GRACE + 4)
    job_id = await world.stored()
    world.store.jobs[job_id] = replace(world.store.jobs[job_id], queued_at=stamped)
    await look_for(world, reconciler, 2)
    assert world.is_waiting(job_id)


class Counted(FakeLeaseQueue):
    """A Redis that counts how often it was asked."""

    asked = 0

    def __getattribute__(self, name: str) -> Any:
        if name in QUESTIONS:
            type(self).asked += 1
        return super().__getattribute__(name)


QUESTIONS = {name for name in vars(LeaseQueue) if not name.startswith("_")}


async def test_a_look_at_a_thousand_idle_queues_asks_redis_twice(world: World) -> None:
    """Asked for each, an idle system would cost a core."""
    for number in range(1000):
        await world.store.bury(await world.stored(queue=f"q{number}"))
    reconciler = a_reconciler(world)
    await reconciler.step()
    world.clock.advance(1)
    world.queue.__class__ = Counted
    await reconciler.step()
    assert Counted.asked == 2


async def test_a_new_queue_is_watched_and_costs_no_full_pass(world: World) -> None:
    """Who names a queue a job would have all that is queued read again with each job."""
    looks: list[datetime | None] = []

    class Watched(FakeJobStore):
        async def queued_jobs(self, since: datetime | None, *rest: Any) -> Sequence[Job]:
            looks.append(since)
            return await super().queued_jobs(since, *rest)

    reconciler = await at_ease(world)
    world.store.__class__ = Watched
    job_id = await world.stored(queue="new")
    await look_for(world, reconciler, GRACE + 2)
    assert None not in looks, "a full pass begins at the beginning"
    assert world.is_waiting(job_id, "new")
    world.queue.wipe()
    await reconciler.step()
    assert None in looks
    assert world.is_waiting(job_id, "new")


async def test_a_pause_of_a_new_queue_is_there_before_its_jobs_can_be_leased(world: World) -> None:
    """Its pause was written to MongoDB, and Redis was lost before or after that."""
    reconciler = await at_ease(world)
    await world.store.pause_queue("new")
    await reconciler.step()
    assert (await world.queue.view("new")).paused


async def test_more_than_a_page_is_restored(world: World) -> None:
    jobs = [await world.stored() for _ in range(1203)]
    world.clock.advance(1)
    await a_reconciler(world).step()
    assert all(world.is_waiting(job_id) for job_id in jobs)


async def test_h11_an_old_lease_is_no_presence(world: World) -> None:
    """H11: Attempt 1 is settled to pending and not acknowledged; the dispatcher writes `queued` and
    dies before it adds; the one check sees the member in `leased` and is satisfied; the
    acknowledgement removes it. Nobody looks again."""
    reconciler = await at_ease(world)
    job = await world.running("l1", retry={"base": 0})
    boom = Failed(ErrorInfo("Boom", "it broke"))
    record = conclude(job, boom, finished_at=world.now, lot=0)
    await world.store.settle(await world.store.record([record]))
    await world.store.dispatch(LOOKAHEAD, 10)
    assert world.is_leased(job.id)
    assert not world.is_waiting(job.id)
    await look_for(world, reconciler, GRACE + 2)
    await world.queue.ack([lease_of(job)])
    assert [again.attempt for again in await world.run("l2")] == [2]


async def test_a_job_that_is_leased_and_about_to_start_gets_a_ghost_and_runs_once(
    world: World,
) -> None:
    reconciler = await at_ease(world)
    job_id = await world.ready()
    grant = await world.leased("l1")
    await look_for(world, reconciler, GRACE + 2)
    assert [job.id for job in await world.started(grant, "l1")] == [job_id]
    assert await world.run("l2", worker="worker-2") == []
    assert (await world.job(job_id)).attempt == 1


# -- another Redis


async def test_a_wiped_redis_is_filled_again_at_the_next_look(world: World) -> None:
    reconciler = await at_ease(world)
    jobs = [await world.ready() for _ in range(3)]
    await look_for(world, reconciler, 60)
    world.queue.wipe()
    await reconciler.step()
    assert all(world.is_waiting(job_id) for job_id in jobs)


async def test_a_failover_that_lost_the_last_writes_is_noticed(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await world.ready()
    await look_for(world, reconciler, 60)
    world.queue.part("default").ready.clear()
    await reconciler.step()
    assert not world.is_waiting(job_id)
    world.queue.fail_over()
    await reconciler.step()
    assert world.is_waiting(job_id)


async def test_h18_a_generation_that_was_set_and_not_followed_by_a_pass_is_no_base(
    world: World,
) -> None:
    """H18: Redis is wiped; a reconciler sets the new generation and dies before its pass. The next
    one to start finds a generation key and must not take it for "all is well"."""
    job_id = await world.ready()
    world.clock.advance(60)
    world.queue.wipe()
    dying = a_reconciler(world, store=interposed(world.store, "queued_jobs", before=die))
    with pytest.raises(Died):
        await dying.step()
    assert (await world.queue.incarnation("default")).generation is not None
    await a_reconciler(world).step()
    assert world.is_waiting(job_id)


async def test_h18_another_reconciler_does_not_rely_on_the_one_that_set_the_generation(
    world: World,
) -> None:
    """H18: The same with a second one that has been running all the time."""
    steady = await at_ease(world)
    job_id = await world.ready()
    await look_for(world, steady, 60)
    world.queue.wipe()
    dying = a_reconciler(world, store=interposed(world.store, "queued_jobs", before=die))
    with pytest.raises(Died):
        await dying.step()
    await steady.step()
    assert world.is_waiting(job_id)


async def test_h18_a_wipe_during_the_pass_is_seen_after_it(world: World) -> None:
    """H18: The pass restores everything, Redis is wiped, another reconciler sets a generation; read
    only now, after the pass, that generation would be remembered as the one the pass was for."""
    job_id = await world.stored()
    world.clock.advance(60)

    async def wipe() -> None:
        world.queue.wipe()
        await world.queue.begin_generation("default", "g2")

    reconciler = a_reconciler(world, queue=interposed(world.queue, "restore", after=wipe))
    await reconciler.step()
    assert not world.is_waiting(job_id)
    world.clock.advance(1)
    await reconciler.step()
    assert world.is_waiting(job_id)


async def test_h18_each_queue_has_a_generation_of_its_own(world: World) -> None:
    """H18: One shard of a cluster is lost: the keys of one queue are gone, another's are there. One
    key for all of them would say that nothing has happened."""
    reconciler = await at_ease(world)
    lost, kept = await world.ready(queue="lost"), await world.ready(queue="kept")
    await look_for(world, reconciler, 60)
    part = world.queue.part("lost")
    part.ready.clear()
    part.generation = None
    await reconciler.step()
    assert world.is_waiting(lost, "lost")
    assert world.is_waiting(kept, "kept")


async def test_a_pass_that_redis_interrupts_is_made_again(world: World) -> None:
    job_id = await world.stored()
    world.clock.advance(60)
    reconciler = a_reconciler(world)
    world.queue.fail_next("restore", Unavailable, applied=False)
    with pytest.raises(Unavailable):
        await reconciler.step()
    await reconciler.step()
    assert world.is_waiting(job_id)


async def test_a_pass_after_a_wipe_that_redis_interrupts_is_made_again(world: World) -> None:
    """Remembered before it was complete, the new Redis would count as filled."""
    reconciler = await at_ease(world)
    job_id = await world.ready()
    await look_for(world, reconciler, 60)
    world.queue.wipe()
    world.queue.fail_next("restore", Unavailable, applied=False)
    with pytest.raises(Unavailable):
        await reconciler.step()
    await reconciler.step()
    assert world.is_waiting(job_id)


async def test_a_check_that_redis_interrupts_is_made_again(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await world.stored()
    world.clock.advance(GRACE + 1)
    for _ in range(20):
        world.queue.fail_next("restore", Unavailable, applied=False)
        with pytest.raises(Unavailable):
            await reconciler.step()
        world.clock.advance(1)
    await reconciler.step()
    assert world.is_waiting(job_id)


async def test_every_few_minutes_all_is_checked_whatever_we_believe(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await world.ready()
    await look_for(world, reconciler, 60)
    world.queue.part("default").ready.clear()  # by hand, or by a bug
    await look_for(world, reconciler, 200)
    assert not world.is_waiting(job_id)
    await look_for(world, reconciler, 60)
    assert world.is_waiting(job_id)


async def test_any_number_of_reconcilers_do_the_same_once(world: World) -> None:
    reconcilers = [a_reconciler(world) for _ in range(4)]
    jobs = [await world.stored() for _ in range(20)]
    for _ in range(10):
        await asyncio.gather(*(reconciler.step() for reconciler in reconcilers))
        world.clock.advance(1)
    assert (await world.queue.view("default")).ready == len(jobs)
    assert len({job.id for n in range(2) for job in await world.run(f"l{n}")}) == len(jobs)


# -- running, but leased by nobody


async def leaseless(world: World) -> str:
    """H22: the start's reply is lost; the worker reads back, has not won, and drops the
    member; then the write is applied."""
    job_id = await world.ready()
    grant = await world.leased("l1")
    part = world.queue.part("default")
    del part.leased[job_id], part.keys[job_id]
    assert await world.started(grant, "l1")
    return job_id


async def outcomes(world: World, job_id: str) -> list[Outcome]:
    return [record.outcome for record in await world.store.executions(job_id)]


async def test_h22_a_start_that_is_applied_late_leaves_no_job_running_for_ever(
    world: World,
) -> None:
    """H22: `running`, and no runner anywhere: absent in two looks a lease apart, it is reaped."""
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    await look_for(world, reconciler, 3 * SECONDS + 1)
    assert await outcomes(world, job_id) == [Outcome.LOST]
    assert await world.state(job_id) is State.PENDING


async def test_h22_one_look_is_not_enough(world: World) -> None:
    """H22: Its heartbeat may be about to write the lease."""
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    await look_for(world, reconciler, 2 * SECONDS)
    assert await world.state(job_id) is State.RUNNING
    (job,) = world.store.jobs.values()
    await world.queue.extend([lease_of(job)], timedelta(hours=1))
    await look_for(world, reconciler, 3 * SECONDS)
    assert await world.state(job_id) is State.RUNNING


@pytest.mark.parametrize("change", ["wipe", "fail_over"])
async def test_h22_two_looks_at_two_redises_prove_nothing(world: World, change: str) -> None:
    """H22: Between the looks Redis was lost: everything is absent, and everybody may be alive."""
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    await look_for(world, reconciler, 2 * SECONDS - 3)
    getattr(world.queue, change)()
    await look_for(world, reconciler, SECONDS)
    assert await world.state(job_id) is State.RUNNING
    await look_for(world, reconciler, SECONDS + 1)
    assert await outcomes(world, job_id) == [Outcome.LOST]


async def test_h22_what_ran_another_attempt_in_between_was_not_absent_twice(world: World) -> None:
    """H22: The looks are a little more than a lease apart, and attempt 2 began just after the
    first."""
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    await look_for(world, reconciler, 2 * SECONDS - 10)
    (job,) = world.store.jobs.values()
    record = conclude(job, Failed(ErrorInfo("a", "b")), finished_at=world.now, lot=0)
    await world.store.settle(await world.store.record([record]))
    await world.dispatched()
    grant = await world.leased("l2")
    await world.started(grant, "l2")
    part = world.queue.part("default")
    del part.leased[job_id], part.keys[job_id]
    world.clock.advance(SECONDS + 1)
    await reconciler.step()
    assert (await world.job(job_id)).attempt == 2
    assert await outcomes(world, job_id) == [Outcome.FAILED]


async def test_a_leaseless_job_whose_result_stands_is_settled_by_it(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await leaseless(world)
    (job,) = world.store.jobs.values()
    await world.store.record([conclude(job, Succeeded(), finished_at=world.now, lot=0)])
    await look_for(world, reconciler, 3 * SECONDS + 1)
    assert await world.state(job_id) is State.SUCCEEDED


async def test_living_jobs_are_left_alone_however_long_they_run(world: World) -> None:
    reconciler = await at_ease(world)
    job = await world.running()
    for _ in range(50):
        await world.queue.extend([lease_of(job)], LEASE)
        await look_for(world, reconciler, 9)
    after = await world.job(job.id)
    assert (after.state, after.attempt) == (State.RUNNING, 1)


# -- pauses


async def test_a_pause_outlives_redis(world: World) -> None:
    """Nothing of a paused queue may be leased: not even between the wipe and two looks after it,
    when the jobs are back and the pause is not."""

    async def lease() -> None:
        assert (await world.leased("l1")).job_ids == []

    reconciler = await at_ease(world, queue=interposed(world.queue, "restore", after=lease))
    await world.store.pause_queue("default")
    await world.queue.pause("default")
    await world.ready()
    world.clock.advance(1)
    world.queue.wipe()
    await reconciler.step()
    grant = await world.leased("l2")
    assert (grant.job_ids, grant.paused) == ([], True)
    assert (await world.queue.view("default")).ready == 1


async def test_a_pause_that_was_half_written_is_completed(world: World) -> None:
    reconciler = await at_ease(world)
    await world.store.pause_queue("default")
    await look_for(world, reconciler, 2)
    assert (await world.queue.view("default")).paused


async def test_a_resume_that_was_half_written_is_completed(world: World) -> None:
    reconciler = await at_ease(world)
    await world.queue.pause("default")
    await look_for(world, reconciler, 2)
    assert not (await world.queue.view("default")).paused


async def test_a_pause_under_way_is_not_undone(world: World) -> None:
    """One look falls between its two writes; the next finds both."""
    reconciler = await at_ease(world)
    await world.queue.pause("default")
    await reconciler.step()
    assert (await world.queue.view("default")).paused
    await world.store.pause_queue("default")
    await look_for(world, reconciler, 5)
    assert (await world.queue.view("default")).paused


# -- limits


async def test_a_limit_outlives_redis(world: World) -> None:
    """No job beyond the limit is leased: not even between the wipe and two looks after it."""

    async def lease() -> None:
        assert len((await world.leased("l1")).job_ids) == 1

    reconciler = await at_ease(world, queue=interposed(world.queue, "restore", after=lease))
    await limit_both(world, Limit(concurrency=1))
    for _ in range(3):
        await world.ready()
    world.clock.advance(1)
    world.queue.wipe()
    await reconciler.step()
    assert (await world.leased("l2")).job_ids == []
    assert (await world.queue.view("default")).leased == 1


async def test_a_wipe_leaves_no_key_with_more_room_than_it_has(world: World) -> None:
    """The heartbeat brings back the leases, and with them what they hold of the key's limit."""
    reconciler = await at_ease(world)
    asked = {"key": "customer-7", "concurrency": 1}
    job = await world.running(limits=asked)
    waiting = await world.ready(limits=asked)
    world.clock.advance(1)
    world.queue.wipe()
    await world.queue.extend([replace(lease_of(job), limit_key="customer-7")], LEASE)
    await reconciler.step()
    assert (await world.leased("l2")).job_ids == []
    await world.ended(job, Succeeded(1))
    assert (await world.leased("l3")).job_ids == [waiting]


async def test_a_limit_that_was_half_written_is_completed(world: World) -> None:
    reconciler = await at_ease(world)
    await world.store.limit_queue("default", Limit(concurrency=7))
    await look_for(world, reconciler, 2)
    assert (await world.queue.view("default")).limit == "7 0 0"
    await world.store.limit_queue("default", NO_LIMIT)
    await look_for(world, reconciler, 2)
    assert (await world.queue.view("default")).limit == ""


async def test_a_limit_under_way_is_not_undone(world: World) -> None:
    """One look falls between its two writes; the next finds both."""
    reconciler = await at_ease(world)
    await world.queue.limit("default", Limit(concurrency=7))
    await reconciler.step()
    assert (await world.queue.view("default")).limit == "7 0 0"
    await world.store.limit_queue("default", Limit(concurrency=7))
    await look_for(world, reconciler, 5)
    assert (await world.queue.view("default")).limit == "7 0 0"


async def test_a_slot_that_nobody_holds_is_free_after_a_full_pass(world: World) -> None:
    """A process that knows no limits acknowledged the lease."""
    reconciler = await at_ease(world)
    asked = {"key": "customer-7", "concurrency": 1}
    job = await world.running(limits=asked)
    waiting = await world.ready(limits=asked)
    del world.queue.part("default").leased[job.id]
    assert (await world.leased("l2")).job_ids == []
    await look_for(world, reconciler, 301)
    assert (await world.leased("l3")).job_ids == [waiting]


async def test_a_queue_at_its_limit_is_left_to_sleep(world: World) -> None:
    reconciler = await at_ease(world)
    await limit_both(world, Limit(concurrency=1))
    await world.ready()
    await world.ready()
    await world.run("l1")
    world.queue.take_token("default")
    await look_for(world, reconciler, 3)
    assert not world.queue.has_token("default")


async def limit_both(world: World, limit: Limit) -> None:
    """As the gateway does it."""
    await world.store.limit_queue("default", limit)
    await world.queue.limit("default", limit)


async def test_its_loop_looks_every_second(world: World) -> None:
    job_id = await world.stored()
    loop = a_reconciler(world).loop()
    running = asyncio.ensure_future(loop.run())
    await world.clock.run(GRACE + 2)
    assert world.is_waiting(job_id)
    loop.stop()
    await running


# -- wake-ups


async def test_a_wake_up_that_died_with_its_worker_is_given_again(world: World) -> None:
    """A worker takes the token and is killed before it leases: nobody else would look for long."""
    reconciler = await at_ease(world)
    job_id = await world.stored()
    await world.queue.add([(await world.store.get_many([job_id]))[job_id].entry])
    assert world.queue.take_token("default")
    await reconciler.step()
    assert not world.queue.has_token("default"), "it may be on its way"
    await look_for(world, reconciler, 2)
    assert world.queue.has_token("default")


async def test_a_paused_queue_is_left_to_sleep(world: World) -> None:
    reconciler = await at_ease(world)
    job_id = await world.stored()
    await world.queue.add([(await world.store.get_many([job_id]))[job_id].entry])
    await world.store.pause_queue("default")
    await world.queue.pause("default")
    world.queue.take_token("default")
    await look_for(world, reconciler, 3)
    assert not world.queue.has_token("default")
