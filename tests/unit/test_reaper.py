"""Leases that ran out: what that means, the document says."""

from dataclasses import replace

import pytest

from pipeline.domain.body import read_spec
from pipeline.domain.errors import Unavailable
from pipeline.domain.execution import Cancelled, Outcome, Released, Succeeded, conclude
from pipeline.domain.states import State
from pipeline.ports import Death, LiveNote, Progress, WorkerView
from pipeline.watchers.reaper import Reaper
from tests.fakes.live_notes import FakeLiveNotes
from tests.fakes.world import LEASE, World
from tests.reaper_world import SECONDS, a_world, acquainted, look_for, run_out

pytestmark = pytest.mark.unit


@pytest.fixture
async def world() -> World:
    return await a_world()


# -- what an expired lease means


async def test_a_job_whose_worker_vanished_is_lost_and_due_again(world: World) -> None:
    reaper = await acquainted(world)
    job = await world.running()
    await run_out(world, reaper)
    after = await world.job(job.id)
    assert (after.state, after.losses, after.failures) == (State.PENDING, 1, 0)
    assert await world.outcomes(job.id) == [Outcome.LOST]
    assert not world.is_leased(job.id)
    assert world.queue.has_token("(dispatch)")


async def test_a_lease_that_still_runs_is_left_alone(world: World) -> None:
    reaper = await acquainted(world)
    job = await world.running()
    await look_for(world, reaper, SECONDS - 5)
    assert await world.state(job.id) is State.RUNNING
    assert world.is_leased(job.id)


async def test_leased_and_never_started_goes_back_to_where_it_was(world: World) -> None:
    reaper = await acquainted(world)
    job_id = await world.ready(priority=9)
    await world.leased("l1")
    await run_out(world, reaper)
    assert await world.state(job_id) is State.QUEUED
    (peeked,) = await world.queue.peek("default", 10)
    assert (peeked.job_id, peeked.priority) == (job_id, 9)
    assert await world.outcomes(job_id) == []
    assert [job.attempt for job in await world.run("l2")] == [1]


@pytest.mark.parametrize("ending", [Succeeded(), Released(), Cancelled()])
async def test_an_acknowledgement_that_never_came_only_leaves_a_member_to_remove(
    world: World, ending: Succeeded | Released | Cancelled
) -> None:
    reaper = await acquainted(world)
    job = await world.running()
    record = conclude(job, ending, finished_at=world.now, lot=0)
    await world.store.settle(await world.store.record([record]))
    before = await world.job(job.id)
    await run_out(world, reaper)
    assert await world.job(job.id) == before
    assert not world.is_leased(job.id)


async def test_a_lease_of_a_deleted_job_is_removed(world: World) -> None:
    reaper = await acquainted(world)
    job_id = await world.ready()
    await world.leased("l1")
    await world.store.bury(job_id)
    await run_out(world, reaper)
    assert not world.is_leased(job_id)
    assert not world.is_waiting(job_id)


async def test_a_job_that_waits_in_another_queue_now_is_not_put_back_here(world: World) -> None:
    """H27's other half: moved by PATCH, its old queue's lease is a ghost."""
    reaper = await acquainted(world)
    other = await world.stored(queue="other")
    await world.queue.add([(await world.job(other)).entry])
    job_id = await world.ready()
    await world.leased("l1")
    elsewhere = read_spec({"queue": "other"})
    world.store.jobs[job_id] = replace(await world.job(job_id), spec=elsewhere)
    await run_out(world, reaper)
    assert not world.is_waiting(job_id)
    assert not world.is_leased(job_id)


async def test_a_result_written_before_the_crash_is_settled_and_not_lost(world: World) -> None:
    reaper = await acquainted(world)
    job = await world.running()
    await world.store.record([conclude(job, Succeeded(7), finished_at=world.now, lot=0)])
    await run_out(world, reaper)
    assert await world.state(job.id) is State.SUCCEEDED
    assert await world.outcomes(job.id) == [Outcome.SUCCEEDED]


async def test_three_losses_are_poison(world: World) -> None:
    reaper = await acquainted(world)
    job_id = await world.ready()
    for attempt in (1, 2, 3):
        (job,) = await world.run(f"l{attempt}")
        assert job.attempt == attempt
        await run_out(world, reaper)
        await world.dispatched()
    after = await world.job(job_id)
    assert (after.state, after.reason, after.losses) == (State.DEAD, "poison", 3)


@pytest.mark.parametrize("most", [1, 2])
async def test_a_job_says_how_many_losses_it_may_have(world: World, most: int) -> None:
    reaper = await acquainted(world)
    job_id = await world.ready(max_lost=most)
    for attempt in range(1, most + 1):
        assert await world.state(job_id) is not State.DEAD
        await world.run(f"l{attempt}")
        await run_out(world, reaper)
        await world.dispatched()
    after = await world.job(job_id)
    assert (after.state, after.reason, after.losses) == (State.DEAD, "poison", most)


@pytest.mark.parametrize(
    ("signal", "code", "message", "report"),
    [
        ("SIGKILL", None, "was killed by SIGKILL", {"worker_signal": "SIGKILL"}),
        (None, 3, "ended with exit code 3", {"worker_exit_code": 3}),
    ],
)
async def test_a_loss_carries_the_evidence_that_there_is(
    world: World, signal: str | None, code: int | None, message: str, report: dict[str, object]
) -> None:
    reaper = await acquainted(world)
    job = await world.running()
    assert job.worker is not None
    view = WorkerView(job.worker, "here", 7, ["default"], 1, 1, world.now)
    await world.queue.announce_worker(view, LEASE)
    await world.queue.report_death(Death(7, "here", signal, code, "out of memory"))
    await run_out(world, reaper)
    (record,) = await world.store.executions(job.id)
    assert record.error is not None
    assert message in record.error.message
    assert record.error.detail == "out of memory"
    assert record.report == {"worker_pid": 7, "worker_host": "here"} | report


@pytest.mark.parametrize("is_away", [False, True])
async def test_what_a_lost_attempt_told_last_stands_in_its_record(
    world: World, is_away: bool
) -> None:
    notes = FakeLiveNotes()
    reaper = Reaper(world.store, world.queue, world.clock, LEASE, notes)
    await look_for(world, reaper, SECONDS)
    job = await world.running()
    told = LiveNote(Progress(0.5, "half"), "the last line\n")
    await notes.tell({(job.id, job.attempt): told}, LEASE)
    if is_away:
        notes.go_down()
    await run_out(world, reaper)
    (record,) = await world.store.executions(job.id)
    expected = {"progress": {"fraction": 0.5, "note": "half"}, "log": "the last line\n"}
    assert record.report == ({} if is_away else expected)


async def test_a_loss_does_not_wait_for_evidence(world: World) -> None:
    reaper = await acquainted(world)
    job = await world.running()
    world.queue.fail_next("deaths", Unavailable, applied=False)
    await run_out(world, reaper)
    (record,) = await world.store.executions(job.id)
    assert record.error is not None
    assert "was silent for longer than its lease" in record.error.message


async def test_at_most_once_is_dead_after_a_loss(world: World) -> None:
    reaper = await acquainted(world)
    job = await world.running(on_lost="dead")
    await run_out(world, reaper)
    after = await world.job(job.id)
    assert (after.state, after.reason) == (State.DEAD, "lost")


async def test_more_than_a_batch_is_reaped_in_one_look(world: World) -> None:
    reaper = await acquainted(world)
    for _ in range(600):
        await world.ready()
    for n in range(60):
        await world.run(f"l{n}", worker=f"w{n}")
    await run_out(world, reaper)
    assert (await world.store.counts())[State.PENDING] == 600
    assert (await world.queue.view("default")).leased == 0
