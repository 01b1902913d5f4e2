"""Record, settle, acknowledge: in this order, by what stands, and repeatable anywhere."""

import asyncio
from collections.abc import Sequence

import pytest

from pipeline.domain.errors import UnknownOutcome
from pipeline.domain.execution import (
    Ending,
    ErrorInfo,
    Execution,
    Failed,
    Lost,
    Outcome,
    Released,
    Succeeded,
    conclude,
)
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ending import call_off, end
from pipeline.ports import JobStore, Lease
from tests.fakes.interposed import Died, die, interposed
from tests.fakes.world import LEASE, World

pytestmark = pytest.mark.unit

ERROR = ErrorInfo("Boom", "it broke")


@pytest.fixture
def world() -> World:
    return World()


def records(world: World, jobs: Sequence[Job], ending: Ending) -> list[Execution]:
    return [conclude(job, ending, finished_at=world.now, lot=0.5) for job in jobs]


async def end_all(
    world: World, jobs: Sequence[Job], ending: Ending, store: JobStore | None = None
) -> Sequence[Execution]:
    """As their worker does it."""
    leases = [Lease.of(job) for job in jobs]
    return await end(records(world, jobs, ending), leases, store or world.store, world.queue)


async def reaped(world: World, job: Job) -> None:
    """Another process has decided that this attempt is lost, and settled."""
    (lost,) = records(world, [job], Lost(ERROR))
    await world.store.settle(await world.store.record([lost]))


async def test_an_end_is_recorded_settled_and_acknowledged(world: World) -> None:
    job = await world.running()
    (standing,) = await end_all(world, [job], Succeeded(42))
    assert standing.result == 42
    assert await world.state(job.id) is State.SUCCEEDED
    assert not world.is_leased(job.id)


async def test_h1_settling_one_success_never_overrides_the_record_of_another(world: World) -> None:
    """H1: a and b share a lease. b's runs out, the reaper inserts `lost b/1` and dies before it
    settles. The worker inserts `succeeded a/1`, meets a duplicate on b; settled by the lease they
    share, b's document would say succeeded and its record lost."""
    await world.ready()
    await world.ready()
    a, b = await world.run("shared")
    await world.store.record(records(world, [b], Lost(ERROR)))
    standing = await end_all(world, [a, b], Succeeded())
    assert [record.outcome for record in standing] == [Outcome.SUCCEEDED, Outcome.LOST]
    assert await world.state(a.id) is State.SUCCEEDED
    after = await world.job(b.id)
    assert (after.state, after.losses) == (State.PENDING, 1)


async def test_h2_a_record_with_ones_own_lease_id_may_still_be_a_strangers(world: World) -> None:
    """H2: The reaper copies the attempt's lease id into `lost`. The paused worker comes back,
    compares lease ids, takes the record for its own and would settle `succeeded` over it."""
    job = await world.running()
    (lost,) = records(world, [job], Lost(ERROR))
    assert lost.lease_id == job.lease_id
    await world.store.record([lost])
    (standing,) = await end_all(world, [job], Succeeded())
    assert standing.outcome is Outcome.LOST
    assert await world.state(job.id) is State.PENDING


async def test_a_late_worker_does_not_touch_its_successor(world: World) -> None:
    """Worker 1 is paused past its lease; attempt 2 runs elsewhere; worker 1 wakes and offers."""
    job = await world.running("l1")
    world.clock.advance(LEASE.total_seconds() + 1)
    await reaped(world, job)
    await world.dispatched()
    (second,) = await world.run("l2", worker="worker-2")
    await end_all(world, [job], Succeeded("late"))
    after = await world.job(job.id)
    assert (after.state, after.attempt, after.lease_id) == (State.RUNNING, 2, "l2")
    await end_all(world, [second], Succeeded("mine"))
    assert [r.outcome for r in await world.store.executions(job.id)] == [
        Outcome.LOST, Outcome.SUCCEEDED,
    ]  # fmt: skip


async def test_h13_the_lease_of_a_successor_is_not_acknowledged_away(world: World) -> None:
    """H13: The same, seen from Redis: worker 1's late acknowledgement must leave lease l2 alone;
    without it, and were worker 2 to die, nobody would ever look for the job."""
    job = await world.running("l1")
    world.clock.advance(LEASE.total_seconds() + 1)
    await reaped(world, job)
    await world.dispatched()
    await world.run("l2", worker="worker-2")
    await end_all(world, [job], Succeeded("late"))
    assert world.is_leased(job.id)


@pytest.mark.parametrize("method", ["record", "settle"])
@pytest.mark.parametrize("applied", [True, False])
async def test_an_unknown_outcome_may_be_repeated_and_counts_once(
    world: World, method: str, applied: bool
) -> None:
    job = await world.running(retry={"base": 60, "jitter": "none"})
    ending = Failed(ERROR)
    world.store.fail(method, applied=applied)
    with pytest.raises(UnknownOutcome):
        await end_all(world, [job], ending)
    assert world.is_leased(job.id), "acknowledged before it was settled"
    world.clock.advance(5)
    await end_all(world, [job], ending)
    after = await world.job(job.id)
    assert (after.state, after.failures) == (State.PENDING, 1)
    assert len(await world.store.executions(job.id)) == 1


async def test_a_result_written_just_before_a_crash_is_never_run_again(world: World) -> None:
    """The worker dies between record and settle; whoever ends the attempt later, as whatever,
    settles by what stands."""
    job = await world.running()
    with pytest.raises(Died):
        await end_all(world, [job], Succeeded(1), interposed(world.store, "settle", before=die))
    assert await world.state(job.id) is State.RUNNING
    (standing,) = await end_all(world, [job], Lost(ERROR))
    assert (standing.outcome, standing.result) == (Outcome.SUCCEEDED, 1)
    assert await world.state(job.id) is State.SUCCEEDED


async def test_redis_hears_of_it_last(world: World) -> None:
    """Acknowledged before it was settled, a crash between the two leaves a job that is running and
    that no lease leads to."""
    job = await world.running()
    with pytest.raises(Died):
        await end_all(world, [job], Succeeded(), interposed(world.store, "settle", after=die))
    assert world.is_leased(job.id)
    assert await world.state(job.id) is State.SUCCEEDED


async def test_redis_away_costs_nothing_but_an_expired_lease(world: World) -> None:
    job = await world.running()
    world.queue.go_down()
    (standing,) = await end_all(world, [job], Succeeded())
    assert standing.outcome is Outcome.SUCCEEDED
    assert await world.state(job.id) is State.SUCCEEDED


@pytest.mark.parametrize(
    ("ending", "woken"),
    [
        (Succeeded(), False),
        (Released(), True),
        (Lost(ERROR), True),
        (Failed(ERROR), True),  # full jitter of 10 s: at most so far
        (Failed(ERROR, retryable=False), False),
    ],
)
async def test_a_dispatcher_is_woken_for_what_is_due_again_soon(
    world: World, ending: Ending, woken: bool
) -> None:
    job = await world.running()
    await end_all(world, [job], ending)
    assert world.queue.has_token("(dispatch)") is woken


async def test_a_retry_in_an_hour_wakes_nobody(world: World) -> None:
    job = await world.running(retry={"base": 3600, "jitter": "none"})
    await end_all(world, [job], Failed(ERROR))
    assert not world.queue.has_token("(dispatch)")


async def test_nothing_to_end_is_no_fault(world: World) -> None:
    assert await end_all(world, [], Succeeded()) == []


async def test_a_redis_that_hangs_is_waited_for_once_when_a_job_is_called_off(world: World) -> None:
    asked = asyncio.Event()

    async def ask() -> None:
        asked.set()

    job = await world.running()
    queue = interposed(world.queue, "withdraw", before=ask)
    async with asyncio.timeout(5):
        await call_off(job, interposed(queue, "nudge", before=asked.wait))
