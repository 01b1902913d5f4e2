"""A change in every race: with a dispatch, a start, an end, a cancel, another change."""

from datetime import timedelta
from typing import Any

import pytest

from pipeline import operator
from pipeline.domain.errors import Conflict, NotFound, Outdated, Rejected, Unavailable
from pipeline.domain.execution import ErrorInfo, Failed, Succeeded
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import JobStore
from pipeline.watchers.reaper import Reaper
from tests.fakes.interposed import interposed
from tests.fakes.world import LEASE, World

pytestmark = pytest.mark.unit

BOOM = Failed(ErrorInfo("Boom", "it broke"))


@pytest.fixture
def world() -> World:
    return World()


async def change(
    world: World,
    job_id: str,
    patch: Any,
    store: JobStore | None = None,
    is_meant: operator.Meant | None = None,
) -> Job:
    return await operator.change(
        job_id, patch, store or world.store, world.queue, world.clock, is_meant
    )


# -- change


@pytest.mark.parametrize("delay", [0, 1, 60])
async def test_a_job_that_waits_is_changed(world: World, delay: float) -> None:
    job_id = await world.stored(delay=delay)
    after = await change(world, job_id, {"name": "new"})
    assert (after.spec.name, after.state) == ("new", State.PENDING)
    assert await world.job(job_id) == after


async def test_a_change_wakes_the_dispatcher_if_the_job_is_due_soon(world: World) -> None:
    job_id = await world.stored(delay=3600)
    await change(world, job_id, {"name": "n"})
    assert not world.queue.has_token("(dispatch)")
    await change(world, job_id, {"delay": 1})
    assert world.queue.has_token("(dispatch)")


async def test_a_change_works_without_redis(world: World) -> None:
    job_id = await world.ready()
    world.queue.go_down()
    assert (await change(world, job_id, {"name": "n"})).spec.name == "n"


async def test_h15_a_job_postponed_while_it_is_ready_starts_at_its_new_time_only(
    world: World,
) -> None:
    """The old member is still in Redis and is leased: a ghost, which the start refuses."""
    job_id = await world.ready()
    await change(world, job_id, {"delay": 1})
    assert await world.dispatched_and_run() == []
    world.clock.advance(1)
    assert await world.dispatched_and_run("l2") == [job_id]


async def test_h15_a_job_postponed_between_dispatch_and_redis_is_not_early(world: World) -> None:
    """The dispatcher has claimed it and read it back; now it adds the old due time to Redis."""
    job_id = await world.stored(delay=1)
    entries = await world.store.dispatch(timedelta(seconds=2), 10)
    await change(world, job_id, {"delay": 100})
    await world.queue.add(entries)
    world.clock.advance(2)
    assert await world.dispatched_and_run() == []
    assert await world.state(job_id) is State.PENDING
    world.clock.advance(98)
    assert await world.dispatched_and_run("l2") == [job_id]


async def test_h27_a_job_moved_to_another_queue_is_not_started_by_the_old_queues_worker(
    world: World,
) -> None:
    job_id = await world.ready()
    await change(world, job_id, {"queue": "eu"})
    assert await world.dispatched_and_run("l1") == []
    assert await world.dispatched_and_run("l2", queue="eu") == [job_id]


async def test_a_job_changed_between_lease_and_start_runs_as_it_is_asked_for_now(
    world: World,
) -> None:
    """The worker holds a lease of the old job; the dispatcher has queued the new one meanwhile. The
    start wins it under the old lease, and what it reads back is what is asked for now."""
    job_id = await world.ready(payload="old")
    grant = await world.leased("l1")
    await change(world, job_id, {"payload": "new"})
    assert await world.started(grant, "l1") == []
    await world.dispatched()
    (won,) = await world.started(grant, "l1")
    assert (won.id, won.spec.payload) == (job_id, "new")
    assert [job.id for job in await world.run("l2", worker="worker-2")] == []


async def test_the_expired_lease_of_a_ghost_is_only_removed(world: World) -> None:
    """A worker leased the job and died; the job is postponed. The reaper must not bring it back."""
    job_id = await world.ready()
    await world.leased("l1")
    await change(world, job_id, {"delay": 3600})
    await world.queue.begin_generation("default", "g")
    reaper = Reaper(world.store, world.queue, world.clock, LEASE)
    for _ in range(12):
        await reaper.step()
        world.clock.advance(LEASE.total_seconds() / 4)
    assert not world.is_leased(job_id)
    assert not world.is_waiting(job_id)
    assert await world.state(job_id) is State.PENDING


async def test_a_start_that_wins_between_look_and_write_is_not_taken_back(world: World) -> None:
    job_id = await world.ready()

    async def start() -> None:
        assert await world.run("l1")

    with pytest.raises(Conflict, match="running"):
        await change(world, job_id, {"delay": 60}, interposed(world.store, "change", before=start))
    assert await world.state(job_id) is State.RUNNING


async def test_a_dispatch_in_between_makes_the_change_read_again(world: World) -> None:
    job_id = await world.stored(delay=1)
    store = interposed(world.store, "change", before=world.dispatched)
    assert (await change(world, job_id, {"delay": 60}, store)).state is State.PENDING
    world.clock.advance(2)
    assert await world.dispatched_and_run() == []


async def test_a_whole_failed_attempt_in_between_is_kept(world: World) -> None:
    """Read as queued; it starts, fails and waits for its retry; the change then holds for that."""
    job_id = await world.ready(retry={"base": 60, "jitter": "none"})

    async def fail() -> None:
        (job,) = await world.run("l1")
        await world.ended(job, BOOM)

    store = interposed(world.store, "change", before=fail)
    after = await change(world, job_id, {"name": "n"}, store)
    assert (after.attempt, after.failures, after.spec.name) == (1, 1, "n")
    assert after.due_at == world.now + timedelta(seconds=60)


@pytest.mark.parametrize("rival", ["cancel", "bury", "expire"])
async def test_who_came_first_is_not_undone(world: World, rival: str) -> None:
    expires = (world.now + timedelta(seconds=5)).isoformat()
    job_id = await world.stored(delay=60, expires_at=expires)

    async def act() -> None:
        match rival:
            case "cancel":
                await world.store.cancel_waiting(job_id)
            case "bury":
                await world.store.bury(job_id)
            case "expire":
                world.clock.advance(6)
                await world.store.expire(10)

    expected = NotFound if rival == "bury" else Conflict
    with pytest.raises(expected):
        await change(world, job_id, {"name": "n"}, interposed(world.store, "change", before=act))
    stands = await world.store.get(job_id)
    assert stands is None or stands.spec.name is None


async def test_of_two_changes_at_once_neither_is_lost(world: World) -> None:
    job_id = await world.stored(delay=60, payload={"a": 1})

    async def other() -> None:
        await change(world, job_id, {"payload": {"b": 2}, "priority": 9})

    store = interposed(world.store, "change", before=other)
    await change(world, job_id, {"payload": {"c": 3}}, store)
    job = await world.job(job_id)
    assert (job.spec.payload, job.spec.priority) == ({"a": 1, "b": 2, "c": 3}, 9)


async def test_a_change_of_another_version_than_was_meant_is_not_made(world: World) -> None:
    job_id = await world.stored(delay=60)
    read = await world.job(job_id)

    async def is_meant(job: Job) -> bool:
        return job == read

    async def other() -> None:
        await change(world, job_id, {"priority": 9})

    store = interposed(world.store, "change", before=other)
    with pytest.raises(Outdated):
        await change(world, job_id, {"priority": 1}, store, is_meant)
    assert (await world.job(job_id)).spec.priority == 9


async def test_a_change_whose_answer_was_lost_comes_to_the_same_when_repeated(
    world: World,
) -> None:
    job_id = await world.stored(delay=60)
    world.store.fail("change", applied=True)
    with pytest.raises(Unavailable):
        await change(world, job_id, {"name": "n"})
    after = await change(world, job_id, {"name": "n"})
    assert (after.spec.name, after.state) == ("n", State.PENDING)


async def test_what_runs_or_has_ended_is_not_changed(world: World) -> None:
    job = await world.running()
    with pytest.raises(Conflict):
        await change(world, job.id, {"name": "n"})
    await world.ended(job, Succeeded())
    with pytest.raises(Conflict):
        await change(world, job.id, {"name": "n"})
    with pytest.raises(NotFound):
        await change(world, "no-such-job", {"name": "n"})


async def test_a_bad_change_changes_nothing(world: World) -> None:
    job_id = await world.stored(delay=60)
    before = await world.job(job_id)
    with pytest.raises(Rejected):
        await change(world, job_id, {"priority": 11})
    assert await world.job(job_id) == before
