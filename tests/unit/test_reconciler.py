"""Redis is made to match MongoDB, by any number of reconcilers, after whatever became of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from pipeline import operator
from pipeline.domain.errors import Unavailable
from pipeline.domain.execution import ErrorInfo, Failed, conclude
from pipeline.domain.job import Job
from pipeline.ending import withdraw
from pipeline.ports import Lease, LeaseQueue
from tests.fakes.job_store import FakeJobStore
from tests.fakes.lease_queue import FakeLeaseQueue
from tests.fakes.world import LOOKAHEAD, World
from tests.reconciler_world import GRACE, a_reconciler, a_world, at_ease, look_for

pytestmark = pytest.mark.unit


@pytest.fixture
async def world() -> World:
    return await a_world()


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
    await world.queue.ack([Lease.of(job)])
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


async def test_what_is_withdrawn_late_and_lives_again_is_put_back(world: World) -> None:
    reconciler = await at_ease(world)
    cancelled = await operator.cancel(await world.ready(), world.store, world.clock)
    await operator.redrive(cancelled.id, world.store, world.queue)
    await world.dispatched()
    await look_for(world, reconciler, 9)
    await withdraw([cancelled], world.queue)
    assert not world.is_waiting(cancelled.id)
    await look_for(world, reconciler, 1)
    assert world.is_waiting(cancelled.id)


async def test_any_number_of_reconcilers_do_the_same_once(world: World) -> None:
    reconcilers = [a_reconciler(world) for _ in range(4)]
    jobs = [await world.stored() for _ in range(20)]
    for _ in range(10):
        await asyncio.gather(*(reconciler.step() for reconciler in reconcilers))
        world.clock.advance(1)
    assert (await world.queue.view("default")).ready == len(jobs)
    assert len({job.id for n in range(2) for job in await world.run(f"l{n}")}) == len(jobs)


async def test_its_loop_looks_every_second(world: World) -> None:
    job_id = await world.stored()
    loop = a_reconciler(world).loop()
    running = asyncio.ensure_future(loop.run())
    await world.clock.run(GRACE + 2)
    assert world.is_waiting(job_id)
    loop.stop()
    await running
