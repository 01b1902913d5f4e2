"""What is about to be due goes from MongoDB into Redis: truth first, index second."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline import operator
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.execution import ErrorInfo, Failed, conclude
from pipeline.domain.states import State
from pipeline.ports import JobStore, LeaseQueue
from pipeline.watchers.dispatcher import Dispatcher
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.interposed import Died, die, interposed
from tests.fakes.lease_queue import FakeLeaseQueue
from tests.fakes.world import LOOKAHEAD, World

pytestmark = pytest.mark.unit


@pytest.fixture
def world() -> World:
    return World()


def a_dispatcher(
    world: World, *, store: JobStore | None = None, queue: LeaseQueue | None = None
) -> Dispatcher:
    return Dispatcher(store or world.store, queue or world.queue, LOOKAHEAD)


async def test_what_is_due_soon_waits_in_redis_and_the_rest_in_mongodb(world: World) -> None:
    soon = await world.stored(delay=2, queue="q", priority=9)
    later = await world.stored(delay=2.001)
    await a_dispatcher(world).step()
    assert (await world.state(soon), await world.state(later)) == (State.QUEUED, State.PENDING)
    (peeked,) = await world.queue.peek("q", 10)
    assert (peeked.job_id, peeked.priority) == (soon, 9)
    assert peeked.due_at == (await world.job(soon)).due_at
    assert not world.is_waiting(later)


async def test_a_pass_goes_on_until_nothing_more_is_due(world: World) -> None:
    expected = {await world.stored(delay=1) for _ in range(1100)}
    await a_dispatcher(world).step()
    assert (await world.queue.view("default")).delayed == len(expected) == 1100


async def test_truth_comes_first(world: World) -> None:
    """Added first, a crash in between leaves a member of a job that nothing will ever start."""
    job_id = await world.stored(delay=1)

    async def look() -> None:
        assert await world.state(job_id) is State.QUEUED

    await a_dispatcher(world, queue=interposed(world.queue, "add", before=look)).step()
    assert world.is_waiting(job_id)


async def test_a_crash_in_between_leaves_a_queued_job_for_the_reconciler(world: World) -> None:
    job_id = await world.stored(delay=1)
    with pytest.raises(Died):
        await a_dispatcher(world, queue=interposed(world.queue, "add", before=die)).step()
    assert await world.state(job_id) is State.QUEUED
    assert not world.is_waiting(job_id)
    await a_dispatcher(world).step()
    assert not world.is_waiting(job_id), "the dispatcher does not look at what is queued"


async def test_r12_two_dispatchers_share_the_work_and_double_nothing(world: World) -> None:
    for _ in range(600):
        await world.stored(delay=1)
    await asyncio.gather(a_dispatcher(world).step(), a_dispatcher(world).step())
    assert (await world.queue.view("default")).delayed == 600


async def test_h10_the_clock_that_leased_is_the_clock_that_starts(world: World) -> None:
    """H10: Redis is a second ahead of MongoDB: in its look-ahead the job is due by Redis and not
    yet by MongoDB. Judged by MongoDB's clock the start is refused, the member is dropped, and the
    job, which was once seen to be in Redis, is never looked at again."""
    redis_clock = ManualClock(world.now + timedelta(seconds=1))
    ahead = world.queue = FakeLeaseQueue(redis_clock)
    job_id = await world.stored(delay=1)
    await a_dispatcher(world, queue=ahead).step()
    grant = await world.leased("lease-1")
    assert grant.job_ids == [job_id]
    assert grant.judged_at > world.now
    assert [job.id for job in await world.started(grant, "lease-1")] == [job_id]


async def test_h15_a_job_postponed_under_the_dispatcher_starts_at_its_new_time(
    world: World,
) -> None:
    """H15: PATCH writes a later due time and `pending` between the dispatcher's write and its add.
    The old member is a ghost: refused by the start. The job is dispatched again in its own time."""
    job_id = await world.stored(delay=1)

    async def postpone() -> None:
        job = world.store.jobs[job_id]
        later = job.due_at + timedelta(seconds=60)
        world.store.jobs[job_id] = replace(job, state=State.PENDING, due_at=later)

    await a_dispatcher(world, queue=interposed(world.queue, "add", before=postpone)).step()
    world.clock.advance(5)
    ghost = await world.leased("l1")
    assert ghost.job_ids == [job_id]
    assert await world.started(ghost, "l1") == []
    world.clock.advance(60)
    await a_dispatcher(world).step()
    assert [job.id for job in await world.run("l2")] == [job_id]


async def test_h15_due_time_queue_and_priority_are_what_the_write_found(world: World) -> None:
    """H15: A dispatcher that remembers what it read before its write adds the job under its old due
    time; so it adds what the write read back, nothing else."""
    job_id = await world.stored(delay=1)

    async def postpone() -> None:
        job = world.store.jobs[job_id]
        world.store.jobs[job_id] = replace(job, due_at=job.due_at + timedelta(milliseconds=500))

    await a_dispatcher(world, store=interposed(world.store, "dispatch", before=postpone)).step()
    (peeked,) = await world.queue.peek("default", 10)
    assert peeked.due_at == world.now + timedelta(seconds=1.5)


async def test_h16_an_old_lease_that_is_not_acknowledged_yet_hides_nobody(world: World) -> None:
    """H16: The worker settles a failure and has not acknowledged yet; the retry is due at once and
    is dispatched. "Add unless leased" would leave it out, and then the acknowledgement comes."""
    job = await world.running("l1", retry={"base": 0})
    boom = Failed(ErrorInfo("Boom", "it broke"))
    record = conclude(job, boom, finished_at=world.now, lot=0.0)
    await world.store.settle(await world.store.record([record]))
    assert world.is_leased(job.id)
    await a_dispatcher(world).step()
    assert world.is_waiting(job.id)
    await world.ended(job, boom)
    assert [again.attempt for again in await world.run("l2")] == [2]


async def test_h17_what_expires_is_dead_whether_or_not_it_was_dispatched(world: World) -> None:
    """H17: the dispatcher owns `expires_at`, in both states that wait."""
    expires = (world.now + timedelta(seconds=5)).isoformat()
    pending = await world.stored(expires_at=expires, delay=3)
    queued = await world.ready(expires_at=expires)
    world.clock.advance(4.999)
    dispatcher = a_dispatcher(world)
    await dispatcher.step()
    assert await world.state(queued) is State.QUEUED
    world.clock.advance(0.001)
    await dispatcher.step()
    for job_id in (pending, queued):
        job = await world.job(job_id)
        assert (job.state, job.reason) == (State.DEAD, "expired")
        assert await world.store.executions(job_id) == []
    assert await world.run("lease-1") == []


async def test_what_has_expired_is_leased_by_nobody_any_more(world: World) -> None:
    # In line at a limit, one ghost after another would be leased and refused.
    expires = (world.now + timedelta(seconds=5)).isoformat()
    await world.ready(expires_at=expires)
    world.clock.advance(5)
    await a_dispatcher(world).step()
    assert await world.queue.peek("default", 9) == []


async def test_h17_expiry_goes_on_in_as_many_batches_as_it_takes(world: World) -> None:
    """H17: what is left over would wait a whole poll for its end."""
    expires = (world.now + timedelta(seconds=5)).isoformat()
    for _ in range(1001):
        await world.stored(expires_at=expires, delay=3600)
    world.clock.advance(6)
    await a_dispatcher(world).step()
    assert (await world.store.counts())[State.DEAD] == 1001


async def test_h17_expiry_does_not_wait_for_redis(world: World) -> None:
    """H17: it is MongoDB's alone, so an outage of Redis must not hold it up."""
    expires = (world.now + timedelta(seconds=5)).isoformat()
    expiring = await world.stored(expires_at=expires, delay=3600)
    world.clock.advance(6)
    await world.stored(delay=1)
    world.queue.go_down()
    with pytest.raises(Unavailable):
        await a_dispatcher(world).step()
    assert await world.state(expiring) is State.DEAD


async def test_h17_expiry_waits_once_a_pass_for_a_redis_that_hangs(world: World) -> None:
    """H17: with each batch, a call that is given up after seconds would be a hold-up."""
    expires = (world.now + timedelta(seconds=5)).isoformat()
    for _ in range(1001):
        await world.stored(expires_at=expires, delay=3600)
    world.clock.advance(6)
    world.queue.go_down()
    await a_dispatcher(world, queue=interposed(world.queue, "withdraw", before=die, call=2)).step()
    assert (await world.store.counts())[State.DEAD] == 1001


async def test_what_was_redriven_as_soon_as_it_had_expired_stays_in_redis(world: World) -> None:
    job_id = await world.stored(expires_at=(world.now + timedelta(seconds=5)).isoformat())
    world.clock.advance(6)

    async def redrive() -> None:
        await operator.redrive(job_id, world.store, world.queue)
        await world.dispatched()

    await a_dispatcher(world, store=interposed(world.store, "expire", after=redrive)).step()
    assert await world.state(job_id) is State.QUEUED
    assert world.is_waiting(job_id)


@pytest.mark.parametrize("applied", [True, False])
async def test_a_dispatch_of_unknown_outcome_loses_no_job(world: World, applied: bool) -> None:
    """Applied, it is queued and absent: the reconciler's. Not applied, the next pass takes it."""
    job_id = await world.stored(delay=1)
    world.store.fail("dispatch", applied=applied)
    with pytest.raises(UnknownOutcome):
        await a_dispatcher(world).step()
    await a_dispatcher(world).step()
    assert await world.state(job_id) is State.QUEUED
    assert world.is_waiting(job_id) is not applied


async def test_the_loop_looks_at_once_when_something_becomes_due_soon(world: World) -> None:
    poll = timedelta(seconds=2)
    loop = a_dispatcher(world).loop(poll, world.clock, SeededChance(1))
    running = asyncio.ensure_future(loop.run())
    await world.clock.run(0.1)
    job_id = await world.stored(delay=0.5)
    await world.clock.run(0.1)
    assert not world.is_waiting(job_id)
    await world.queue.wake_dispatcher()
    await world.clock.run(0)
    assert world.is_waiting(job_id)
    loop.stop()
    await running


async def test_the_loop_is_in_time_for_every_job_without_being_woken(world: World) -> None:
    loop = a_dispatcher(world).loop(LOOKAHEAD, world.clock, SeededChance(1))
    running = asyncio.ensure_future(loop.run())
    for _ in range(50):
        job_id = await world.stored(delay=LOOKAHEAD.total_seconds() + 0.001)
        await world.clock.run(2.001)
        assert world.is_waiting(job_id)
    loop.stop()
    await running
