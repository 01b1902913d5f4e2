"""A worker pulls what is due, wins the start, runs it and settles it (R5-R7)."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.domain.errors import Flaw, Rejected, Unavailable, UnknownOutcome
from pipeline.domain.execution import ErrorInfo, Execution, Lost, Outcome, conclude
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import Claim, Lease
from tests.fakes.job_store import FakeJobStore
from tests.worker_world import LEASE, WorkerWorld
from workers.tasks import Context


@pytest.fixture
def world() -> WorkerWorld:
    return WorkerWorld()


async def test_a_job_that_is_due_is_run_recorded_settled_and_acknowledged(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit(payload={"n": 1})

    async with world.running(world.worker()):
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.starts == [(job_id, 1)]
    assert world.record(job_id).result == {"n": 1}
    assert world.record(job_id).worker == "w1"
    assert world.leased() == set()


async def test_an_idle_worker_is_woken_by_a_push_without_any_time_passing(
    world: WorkerWorld,
) -> None:
    async with world.running(world.worker()):
        job_id = await world.submit(payload=1)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.clock.monotonic() == 0


async def test_a_delayed_job_starts_when_it_is_due_and_never_before(world: WorkerWorld) -> None:
    async with world.running(world.worker()):
        job_id = await world.submit(delay=1.5)
        await world.clock.run(1.499)
        assert world.starts == []

        await world.clock.run(0.001)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.record(job_id).started_at == world.job(job_id).due_at


async def test_who_came_for_a_due_job_in_vain_wakes_a_little_later_than_the_next_is_due(
    world: WorkerWorld,
) -> None:
    async with world.running(world.worker()):
        first = await world.submit(delay=1.0)
        second = await world.submit(delay=2.0)
        await world.let_run()
        del world.queue.part("default").delayed[first]  # another worker was faster
        await world.clock.run(2.0)
        assert world.starts == []

        await world.clock.run(0.001)
        await world.until(lambda: world.state(second) is State.SUCCEEDED)


async def test_a_worker_that_looks_too_early_by_the_clock_of_redis_waits_again(
    world: WorkerWorld,
) -> None:
    async with world.running(world.worker()):
        job_id = await world.submit(delay=1.0)
        await world.let_run()
        world.clock.set_now(world.clock.now() - timedelta(seconds=0.5))

        await world.clock.run(1.01)
        assert world.starts == []

        await world.clock.run(0.5)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)


async def test_an_idle_worker_does_not_spin(world: WorkerWorld) -> None:
    calls = 0
    lease = world.queue.lease

    async def counted(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        return await lease(*args, **named)

    world.queue.lease = counted  # type: ignore[method-assign]
    async with world.running(world.worker()):
        await world.submit(delay=100.0)
        await world.clock.run(60)

    assert calls <= 60 / 5 + 3 + 2  # a poll every 5-10 s, the standing read every 20


async def test_a_lost_wakeup_costs_at_most_one_poll(world: WorkerWorld) -> None:
    async with world.running(world.worker()):
        job_id = await world.store_only()
        other = await world.submit(queue="elsewhere")  # nobody of ours is woken by this
        part, hidden = world.queue.part("default"), world.queue.part("elsewhere").ready.pop(other)
        part.ready[job_id] = hidden

        await world.clock.run(10.1)

        assert world.state(job_id) is State.SUCCEEDED


async def test_never_more_is_leased_than_can_run(world: WorkerWorld) -> None:
    for _ in range(10):
        await world.submit(task="gated")

    async with world.running(world.worker(concurrency=3)):
        await world.until(lambda: len(world.starts) == 3)
        await world.let_run()
        assert len(world.leased()) == 3
        assert len(world.queue.part("default").ready) == 7


async def test_a_freed_slot_takes_the_next_job(world: WorkerWorld) -> None:
    ids = [await world.submit(payload=n) for n in range(25)]

    async with world.running(world.worker(concurrency=2)):
        await world.until(lambda: all(world.state(id) is State.SUCCEEDED for id in ids))

    assert sorted(world.starts) == sorted((id, 1) for id in ids)


async def test_a_wakeup_taken_by_a_full_worker_is_passed_on_to_an_idle_one(
    world: WorkerWorld,
) -> None:
    """Its read stood from before it was full, and was first in the line."""
    async with world.running(world.worker(id="full", concurrency=1)):
        await world.submit(task="gated")
        await world.until(lambda: len(world.starts) == 1)
        assert world.queue.sleeping("default") == 1

        async with world.running(world.worker(id="idle", concurrency=1)):
            second = await world.submit(task="gated")
            await world.until(lambda: len(world.starts) == 2)

            assert world.job(second).worker == "idle"
            assert world.clock.monotonic() == 0


async def test_a_full_worker_does_not_eat_a_wakeup_that_comes_later(world: WorkerWorld) -> None:
    await world.submit(task="gated")
    async with world.running(world.worker(concurrency=1)):
        await world.until(lambda: len(world.starts) == 1)
        await world.submit(task="gated")
        await world.let_run()

        assert world.queue.has_token("default")
        assert world.queue.sleeping("default") == 0


async def test_a_worker_that_goes_leaves_no_wakeup_eaten(world: WorkerWorld) -> None:
    """A cancelled blocking read may have taken one; somebody else looks once too often instead."""
    async with world.running(world.worker()):
        pass
    assert world.queue.has_token("default")


async def test_a_long_queue_does_not_starve_another_one(world: WorkerWorld) -> None:
    for _ in range(200):
        await world.submit(queue="long")
    shorts = [await world.submit(queue="short") for _ in range(10)]
    async with world.running(world.worker(queues=("long", "short"), concurrency=4)):
        await world.until(lambda: len(world.starts) == 210)

    assert max(world.starts.index((id, 1)) for id in shorts) < 50


async def test_a_paused_queue_is_left_alone_until_it_is_resumed(world: WorkerWorld) -> None:
    await world.queue.pause("default")
    job_id = await world.submit()

    async with world.running(world.worker()):
        await world.clock.run(30)
        assert world.starts == []
        await world.queue.resume("default")
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)


# -- lease and start


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


# -- end


async def test_a_result_that_comes_after_the_reaper_is_refused(world: WorkerWorld) -> None:
    """A pause past the lease: somebody recorded `lost`; that stands, whatever we have."""
    job_id = await world.submit(task="gated", retry={"jitter": "none"})
    async with world.running(world.worker()):
        await world.until(lambda: world.starts)
        job = world.job(job_id)
        lost = conclude(job, Lost(ErrorInfo("lost", "")), finished_at=world.clock.now(), lot=0.0)
        await world.store.settle(await world.store.record([lost]))

        world.open_gates()
        await world.let_run()

    assert world.outcome(job_id) is Outcome.LOST
    assert world.state(job_id) is State.PENDING
    assert world.job(job_id).losses == 1


async def test_a_result_outlives_an_outage_of_mongodb_that_is_longer_than_the_lease(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit(task="gated", payload="kept")
    async with world.running(world.worker()):
        await world.until(lambda: world.starts)
        world.store.down = True
        world.open_gates()
        await world.clock.run(100)
        assert world.state(job_id) is State.RUNNING

        world.store.down = False
        await world.clock.run(3)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.record(job_id).result == "kept"


@pytest.mark.parametrize("step", ["record", "settle"])
@pytest.mark.parametrize("applied", [True, False])
async def test_an_unknown_end_is_repeated_and_recorded_once(
    world: WorkerWorld, step: str, applied: bool
) -> None:
    job_id = await world.submit(payload=7)
    world.store.fail(step, applied=applied)

    async with world.running(world.worker()):
        await world.clock.run(1)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)

    assert world.record(job_id).result == 7
    assert world.starts == [(job_id, 1)]


async def test_redis_hears_of_an_end_only_after_it_is_settled(world: WorkerWorld) -> None:
    job_id = await world.submit()
    world.store.fail("settle", applied=False)

    async with world.running(world.worker()):
        await world.until(lambda: world.store.records)
        await world.let_run()
        assert world.state(job_id) is State.RUNNING
        assert world.leased() == {job_id}

        await world.clock.run(1)
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)


class PickyStore(FakeJobStore):
    """Cannot encode one certain result."""

    async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
        if any(execution.result == "bad" for execution in executions):
            raise ValueError("cannot be encoded")
        return await super().record(executions)


async def test_one_record_that_cannot_be_written_spares_its_neighbours(world: WorkerWorld) -> None:
    world.store.__class__ = PickyStore
    bad = await world.submit(task="gated", payload="bad")
    good = [await world.submit(task="gated", payload=n) for n in range(5)]

    with capture_logs() as logs:
        async with world.running(world.worker()):
            await world.until(lambda: len(world.starts) == 6)
            world.open_gates()
            await world.until(lambda: all(world.state(id) is State.SUCCEEDED for id in good))

    assert [log["execution"] for log in logs if "execution" in log] == [f"{bad}/1"]
    assert world.state(bad) is State.RUNNING  # until its lease has run out
    assert world.leased() == {bad}


async def test_results_that_cannot_be_written_stop_the_leasing_before_memory_is_full(
    world: WorkerWorld,
) -> None:
    for _ in range(100):
        await world.submit(payload="x")

    class NoRecords(FakeJobStore):
        async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
            raise Unavailable("MongoDB", "no primary")

    world.store.__class__ = NoRecords
    async with world.running(world.worker(concurrency=5, backlog=10)):
        await world.clock.run(20)
        assert len(world.starts) == 15

        world.store.__class__ = FakeJobStore
        await world.clock.run(20)
        await world.until(lambda: len(world.starts) == 100)


async def test_a_job_that_takes_longer_than_its_timeout_is_stopped_and_tried_again(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit(task="gated", timeout=0.01)

    async with world.running(world.worker()):
        await world.until(lambda: world.state(job_id) is State.PENDING)

    assert world.stopped == [job_id]
    assert world.outcome(job_id) is Outcome.TIMED_OUT
    assert world.job(job_id).failures == 1


async def test_a_plain_function_past_its_timeout_keeps_its_slot_until_it_returns(
    world: WorkerWorld,
) -> None:
    gate = threading.Event()

    @world.registry.task("stubborn")
    def stubborn(payload: Any, context: Context) -> None:
        gate.wait(5)

    first = await world.submit(task="stubborn", timeout=0.01)
    async with world.running(world.worker(concurrency=1)):
        await world.until(lambda: world.state(first) is State.PENDING)
        second = await world.submit()
        await world.let_run()
        assert world.state(second) is State.QUEUED

        gate.set()
        await world.until(lambda: world.state(second) is State.SUCCEEDED)


async def test_a_coroutine_that_will_not_be_cancelled_is_recorded_and_keeps_its_slot(
    world: WorkerWorld,
) -> None:
    gate = asyncio.Event()

    @world.registry.task("stubborn")
    async def stubborn(payload: Any, context: Context) -> None:
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await gate.wait()

    first = await world.submit(task="stubborn", timeout=0.01)
    async with world.running(world.worker(concurrency=1)):
        await world.until(lambda: world.state(first) is State.PENDING)
        assert world.outcome(first) is Outcome.TIMED_OUT
        second = await world.submit()
        await world.let_run()
        assert world.state(second) is State.QUEUED

        gate.set()
        await world.until(lambda: world.state(second) is State.SUCCEEDED)


# -- stop


async def test_a_stopping_worker_leases_nothing_and_waits_for_what_runs(world: WorkerWorld) -> None:
    running = await world.submit(task="gated")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        worker.stop()
        await world.let_run()
        late = await world.submit()
        await world.clock.run(5)
        assert not run.done()

        world.open_gates()
        await world.until(run.done)

    assert world.state(running) is State.SUCCEEDED
    assert world.state(late) is State.QUEUED
    assert world.leased() == set()


async def test_what_still_runs_after_the_drain_is_released_and_another_worker_starts_it_at_once(
    world: WorkerWorld,
) -> None:
    """H14, H23: back to pending, due now, and it counts as nothing."""
    job_id = await world.submit(task="gated")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        worker.stop()
        await world.clock.run(10.1)
        await world.until(run.done)

    assert world.stopped == [job_id]
    assert world.outcome(job_id) is Outcome.RELEASED
    job = world.job(job_id)
    assert (job.state, job.failures, job.losses) == (State.PENDING, 0, 0)
    assert job.due_at <= world.clock.now()
    assert world.leased() == set()

    world.open_gates()
    await world.dispatch()
    async with world.running(world.worker(id="w2")):
        await world.until(lambda: world.state(job_id) is State.SUCCEEDED)
    assert world.starts == [(job_id, 1), (job_id, 2)]


async def test_a_released_job_that_may_run_only_once_is_lost_and_dead(world: WorkerWorld) -> None:
    """H6: at most once is not kept by running it again."""
    job_id = await world.submit(task="gated", on_lost="dead")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        worker.stop()
        await world.clock.run(10.1)
        await world.until(run.done)

    assert world.outcome(job_id) is Outcome.LOST
    assert (world.state(job_id), world.job(job_id).reason) == (State.DEAD, "lost")


async def test_code_that_answers_its_being_stopped_with_a_result_is_released_all_the_same(
    world: WorkerWorld,
) -> None:
    @world.registry.task("polite")
    async def polite(payload: Any, context: Context) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "half done"

    job_id = await world.submit(task="polite")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.state(job_id) is State.RUNNING)
        worker.stop()
        await world.clock.run(10.1)
        await world.until(run.done)

    assert world.outcome(job_id) is Outcome.RELEASED


async def test_what_is_leased_and_not_started_when_the_stop_comes_is_given_back(
    world: WorkerWorld,
) -> None:
    job_id = await world.submit()
    worker = world.worker()
    lease = world.queue.lease

    async def stopped_meanwhile(*args: Any, **named: Any) -> Any:
        grant = await lease(*args, **named)
        worker.stop()
        await world.let_run()
        return grant

    world.queue.lease = stopped_meanwhile  # type: ignore[method-assign]
    async with world.running(worker):
        pass

    assert world.starts == []
    assert world.state(job_id) is State.QUEUED
    assert set(world.queue.part("default").ready) == {job_id}
    assert world.leased() == set()


async def test_everything_is_settled_before_the_worker_is_gone(world: WorkerWorld) -> None:
    job_id = await world.submit(task="gated")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        world.store.down = True
        world.open_gates()
        worker.stop()
        await world.clock.run(15)
        assert not run.done()

        world.store.down = False
        await world.clock.run(3)
        await world.until(run.done)

    assert world.state(job_id) is State.SUCCEEDED


async def test_a_record_that_can_never_be_written_hurts_no_other(world: WorkerWorld) -> None:
    """Repeated for ever it would hold up all that ended beside it, and the drain."""

    class Picky(FakeJobStore):
        async def record(self, executions: Sequence[Execution]) -> Sequence[Execution]:
            if any(execution.result == "bad" for execution in executions):
                raise Rejected("invalid", Flaw("", "MongoDB takes no such record"))
            return await super().record(executions)

    world.store.__class__ = Picky
    bad, *good = [await world.submit(payload=payload) for payload in ("bad", "a", "b")]
    async with world.running(world.worker()):
        await world.until(lambda: all(world.state(each) is State.SUCCEEDED for each in good))
    assert world.state(bad) is State.RUNNING  # the reaper's


async def test_a_job_that_was_cancelled_while_it_waited_takes_no_token(world: WorkerWorld) -> None:
    limits = {"key": "customer-7", "rate": {"count": 1, "per": 3600}}
    cancelled = [await world.submit(task="echo", limits=limits) for _ in range(3)]
    wanted = await world.submit(task="echo", limits=limits)
    for job_id in cancelled:
        await world.store.cancel_waiting(job_id)
    async with world.running(world.worker()):
        await world.until(lambda: world.state(wanted) is State.SUCCEEDED)
    assert {world.state(job_id) for job_id in cancelled} == {State.CANCELLED}


async def test_a_worker_gets_up_for_the_next_token(world: WorkerWorld) -> None:
    limits = {"key": "customer-7", "rate": {"count": 1, "per": 3}}
    job_ids = [await world.submit(task="echo", limits=limits) for _ in range(3)]
    async with world.running(world.worker()):
        await world.clock.run(6.5)
        assert {world.state(job_id) for job_id in job_ids} == {State.SUCCEEDED}


async def test_a_worker_gets_up_when_a_job_of_its_key_has_ended(world: WorkerWorld) -> None:
    limits = {"key": "customer-7", "concurrency": 1}
    first = await world.submit(task="gated", limits=limits)
    second = await world.submit(task="echo", limits=limits)
    async with world.running(world.worker()):
        await world.until(lambda: world.starts == [(first, 1)])
        assert world.state(second) is State.QUEUED
        world.open_gates()
        await world.until(lambda: world.state(second) is State.SUCCEEDED)


async def test_cancelled_while_it_drains_it_waits_for_nothing(world: WorkerWorld) -> None:
    """A second signal: what it holds is the reaper's."""
    job_id = await world.submit(task="gated")
    async with asyncio.TaskGroup() as group:
        worker = world.worker()
        run = group.create_task(worker.run())
        await world.until(lambda: world.starts)
        worker.stop()
        await world.let_run()
        run.cancel()
        await world.until(run.done)

    assert world.stopped == [job_id]
    assert world.state(job_id) is State.RUNNING  # the reaper's


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
