"""What a person asks of the job that was read, and of no other: cancel, run, redrive, bury."""

from typing import Any

import pytest

from pipeline import operator
from pipeline.domain.errors import Outdated
from pipeline.domain.job import Job
from pipeline.domain.states import State
from pipeline.ports import JobStore
from tests.fakes.interposed import interposed
from tests.fakes.world import World

pytestmark = pytest.mark.unit


@pytest.fixture
def world() -> World:
    return World()


async def _cancel(world: World, read: Job, store: JobStore, is_meant: operator.Meant) -> None:
    await operator.cancel(read.id, store, world.clock, is_meant)


async def _run_now(world: World, read: Job, store: JobStore, is_meant: operator.Meant) -> None:
    await operator.run_now(read.id, store, world.queue, world.clock, is_meant)


async def _bury(_: World, read: Job, store: JobStore, is_meant: operator.Meant) -> None:
    await operator.bury(read.id, store, is_meant)


@pytest.mark.parametrize(
    ("act", "write"), [(_cancel, "cancel_waiting"), (_run_now, "hasten"), (_bury, "bury")]
)
async def test_a_change_between_look_and_write_is_not_run_over(
    world: World, act: Any, write: str
) -> None:
    job_id = await world.stored(delay=60)
    read = await world.job(job_id)

    async def is_meant(job: Job) -> bool:
        return job == read

    async def other() -> None:
        await operator.change(job_id, {"priority": 9}, world.store, world.queue, world.clock)

    with pytest.raises(Outdated):
        await act(world, read, interposed(world.store, write, before=other), is_meant)
    job = await world.job(job_id)
    assert (job.state, job.spec.priority, job.due_at) == (State.PENDING, 9, read.due_at)


async def test_a_redrive_between_look_and_write_is_not_repeated(world: World) -> None:
    job_id = await world.stored(delay=60)
    read = await operator.cancel(job_id, world.store, world.clock)

    async def is_meant(job: Job) -> bool:
        return job == read

    async def other() -> None:
        await operator.redrive(job_id, world.store, world.queue)
        await operator.cancel(job_id, world.store, world.clock)

    store = interposed(world.store, "redrive", before=other)
    with pytest.raises(Outdated):
        await operator.redrive(job_id, store, world.queue, is_meant)
    assert await world.state(job_id) is State.CANCELLED
