"""What a worker has leased it starts, if MongoDB says so; the rest goes back or away (R5)."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from pipeline.domain.errors import UnknownOutcome
from pipeline.domain.execution import Outcome
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import Claim, Lease
from tests.fakes.job_store import FakeJobStore
from tests.worker_world import LEASE, WorkerWorld


@pytest.fixture
def world() -> WorkerWorld:
    return WorkerWorld()


@pytest.mark.parametrize("applied", [True, False])
async def test_an_unknown_start_is_repeated_and_the_job_runs_once(
    world: WorkerWorld, applied: bool
) -> None:
    """H5, H22: the write may have been applied; under the same lease id it is found again."""
    job_id = await world.submit()
    world.store.fail("start", applied=applied)

    async with world.running(world.worker()):
        await world.clock.run(1)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.starts == [(job_id, 1)]


@pytest.mark.parametrize("applied", [True, False])
async def test_a_lost_reply_to_a_lease_orphans_nothing(world: WorkerWorld, applied: bool) -> None:
    job_id = await world.submit()
    world.queue.fail_next("lease", UnknownOutcome, applied=applied)

    async with world.running(world.worker()):
        await world.clock.run(1)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.leased() == set()


async def test_a_start_that_never_gets_an_answer_is_given_up_when_the_lease_has_run_out(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit()
    world.store.down = True
    async with world.running(world.worker()):
        await world.clock.run(40)
        world.store.down = False
        await world.clock.run(40)
        assert world.starts == []  # its lease is the reaper's now

        await world.queue.add([world.job(job_id).entry])
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)


class SlowStore(FakeJobStore):
    """A start that takes longer than the lease."""

    async def start(self, job_ids: Sequence[str], claim: Claim) -> Sequence[Job]:
        won = await super().start(job_ids, claim)
        assert hasattr(self._clock, "advance")
        self._clock.advance(LEASE.total_seconds())
        return won


async def test_what_is_won_after_its_lease_had_run_out_is_released_without_running(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit()
    world.store.__class__ = SlowStore

    async with world.running(world.worker()):
        await world.until(lambda: world.state(job_id) is State.PENDING)

    assert world.starts == []
    assert world.outcome(job_id) is Outcome.RELEASED


async def test_a_job_that_mongodb_does_not_call_due_yet_goes_back_and_starts_when_it_is(
    world: WorkerWorld,
) -> None:
    """H10: queued in the look-ahead; Redis says due, MongoDB says not yet; it must not be lost."""
    job_id = await world.store_only(delay=2.0)
    part = world.queue.part("default")
    await world.submit(queue="elsewhere")
    part.ready[job_id] = next(iter(world.queue.part("elsewhere").ready.values()))

    async with world.running(world.worker()):
        await world.until(lambda: job_id in part.delayed)
        assert world.leased() == set()
        await world.clock.run(2.01)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.starts == [(job_id, 1)]


async def test_a_job_moved_to_another_queue_is_dropped_from_the_old_one(world: WorkerWorld) -> None:
    """H27: the old member is a ghost."""
    job_id = await world.submit(queue="new")
    old = world.queue.part("old")
    old.ready[job_id] = world.queue.part("new").ready[job_id]

    async with world.running(world.worker(queues=("old",))):
        await world.until(lambda: not old.ready)
        await world.let_run()

    assert world.starts == []
    assert not old.leased
    assert not old.delayed
    assert world.state(job_id) is State.QUEUED


async def test_an_expired_ghost_is_left_to_the_dispatcher_and_does_not_come_again_at_once(
    world: WorkerWorld,
) -> None:
    expires_at = (world.clock.now() + timedelta(seconds=5)).isoformat()
    job_id = await world.submit(expires_at=expires_at)
    world.clock.advance(6)

    async with world.running(world.worker()):
        await world.let_run()

        part = world.queue.part("default")
        assert not part.ready
        assert not part.leased
        assert world.state(job_id) is State.QUEUED


class StealingStore(FakeJobStore):
    """Between the refused start and the look at the ghosts another worker leases the job."""

    async def get_many(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        found = await super().get_many(job_ids)
        leases = [Lease(id, "default", "w2", "lease of w2") for id in job_ids]
        await self.stolen_in.extend(leases, LEASE)  # type: ignore[attr-defined]
        return found


@pytest.mark.parametrize("state", [State.QUEUED, State.SUCCEEDED])
async def test_a_ghost_is_dropped_or_given_back_under_its_own_lease_only(
    world: WorkerWorld, state: State
) -> None:
    """H13: an unconditional removal would take the other worker's lease away."""
    job_id = await world.submit()
    await world.store.cancel_waiting(job_id)
    world.store.__class__ = StealingStore
    world.store.stolen_in = world.queue  # type: ignore[attr-defined]
    if state is State.QUEUED:  # queued in MongoDB, and not due there
        await world.store.redrive(job_id)
        world.clock.set_now(world.clock.now() + timedelta(seconds=1))
        await world.store.dispatch(timedelta(0), 1)
        world.clock.set_now(world.clock.now() - timedelta(seconds=2))

    async with world.running(world.worker()):
        await world.until(lambda: not world.queue.part("default").ready)
        await world.let_run()

        assert world.queue.part("default").keys[job_id].owner == "w2 lease of w2"
        assert world.leased() == {job_id}
        assert not world.queue.part("default").ready


async def test_what_is_won_too_late_for_a_heartbeat_to_confirm_it_is_not_begun(
    world: WorkerWorld,
) -> None:
    """Begun, it would be stopped in the middle: the next beat may be a third of a lease away."""
    job_id = await world.submit()
    world.store.down = True
    async with world.running(world.worker(heartbeat=world.heartbeat())):
        await world.clock.run(22)
        world.store.down = False
        await world.clock.run(3)

        assert world.starts == []
        assert world.outcome(job_id) is Outcome.RELEASED
