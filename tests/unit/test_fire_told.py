"""The job of a schedule knows which fire it is for, wherever it runs and however late."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.domain.execution import Succeeded
from pipeline.domain.job import Job
from tests.builders import a_job
from tests.fakes.clock import START
from tests.gateway_world import gateway_world
from tests.process_tasks import PROCESS_TASKS
from workers.executors.command import CommandExecutor
from workers.executors.executors import Executors
from workers.executors.fence import fence_environment, fence_headers
from workers.executors.task import TaskExecutor
from workers.tasks import Context, Registry

pytestmark = pytest.mark.unit

FIRED = datetime(2025, 12, 30, 8, tzinfo=UTC)
TOLD = "2025-12-30T08:00:00.000Z"


def caught_up(**body: Any) -> Job:
    """It runs two days after the time that it stands for."""
    return a_job(body=body, schedule_id="the-schedule", fire_time=FIRED)


@pytest.fixture
def tasks() -> Iterator[TaskExecutor]:
    executor = TaskExecutor(PROCESS_TASKS, threads=1)
    yield executor
    executor.close()


def test_receivers_are_told_in_headers() -> None:
    headers = fence_headers(caught_up())
    assert headers["DueQ-Fire-Time"] == TOLD
    assert headers["DueQ-Schedule-Id"] == "the-schedule"
    assert headers["DueQ-Scheduled-At"] == "2026-01-01T12:00:00.000Z"


def test_a_job_without_a_schedule_tells_of_none() -> None:
    assert not {"DueQ-Fire-Time", "DueQ-Schedule-Id"} & set(fence_headers(a_job()))
    assert set(fence_environment(a_job())) == {"DUEQ_JOB_ID", "DUEQ_ATTEMPT"}


async def test_a_command_is_told_in_its_environment() -> None:
    command = CommandExecutor()
    executors = Executors(TaskExecutor(Registry(), threads=1), command=command)
    ending = await executors.run(caught_up(command="echo $DUEQ_FIRE_TIME $DUEQ_SCHEDULE_ID"))
    command.close()
    assert isinstance(ending, Succeeded)
    assert ending.report["stdout"] == f"{TOLD} the-schedule\n"


async def test_a_function_is_told_in_its_context() -> None:
    registry = Registry()

    async def it(_: Any, context: Context) -> None:
        assert (context.fire_time, context.schedule_id) == (FIRED, "the-schedule")

    registry.task("it")(it)
    assert await Executors(TaskExecutor(registry, threads=1)).run(caught_up(task="it")) == (
        Succeeded(None)
    )


async def test_a_function_in_a_process_is_told_too(tasks: TaskExecutor) -> None:
    executors = Executors(tasks)
    told = await executors.run(caught_up(task="fire_of"))
    assert told == Succeeded({"fire_time": "2025-12-30T08:00:00+00:00", "of": "the-schedule"})
    assert await executors.run(a_job(body={"task": "fire_of"})) == (
        Succeeded({"fire_time": None, "of": None})
    )


async def test_the_job_shows_it_and_so_does_the_answer_to_a_worker_over_http() -> None:
    async with gateway_world() as world:
        world.clients_stay = True
        answer = await world.post("/api/schedules", {"every": 3600})
        schedule_id = answer.json["id"]
        fired = (await world.post(f"/api/schedules/{schedule_id}/trigger")).json["id"]
        await world.ingest()
        world.clock.advance(timedelta(days=2).total_seconds())
        await world.queue.add([world.store.jobs[fired].entry])
        told = START.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert (await world.get(f"/api/jobs/{fired}")).json["fire_time"] == told

        await world.post("/api/workers/register", {"id": "w-1"})
        handed = await world.get("/api/workers/w-1/next?wait=0")
        assert (handed.json["id"], handed.json["fire_time"]) == (fired, told)
        assert handed.headers["dueq-fire-time"] == told
        assert handed.headers["dueq-schedule-id"] == schedule_id
