"""The jobs that a task submits: from the loop or a thread, and only while its attempt lasts."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from pipeline.domain.errors import Rejected, UnknownOutcome
from pipeline.domain.execution import Succeeded, TimedOut
from pipeline.domain.job import Job, Submission
from tests.builders import a_job
from tests.endings import failure
from tests.fakes.clock import ManualClock, SeededChance
from tests.support import eventually
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.follow_ups import FollowUps
from workers.tasks import Context, Registry
from workers.testing import run_task, run_task_async


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def test_it_submits_more_jobs(registry: Registry) -> None:
    @registry.task("it")
    async def it(payload: Any, context: Context) -> str:
        return await context.submit({"task": "mail", "payload": {"to": payload}})

    ran = await run_task_async(it, "c-7", registry=registry)
    assert ran.submitted == [{"task": "mail", "payload": {"to": "c-7"}}]
    assert len(ran.result) == 36


def test_a_plain_function_submits_too(registry: Registry) -> None:
    @registry.task("it")
    def it(payload: Any, context: Context) -> list[str]:
        job = {"task": "mail", "idempotency_key": f"mail of {context.attempt}"}
        return [context.submit_and_wait(job), context.submit_and_wait(job)]

    first, second = run_task(it, registry=registry).result
    assert first == second, "the same key is the same job"


async def test_a_plain_function_may_have_a_loop_of_its_own(registry: Registry) -> None:
    """The connection to RabbitMQ belongs to the loop of the worker."""

    async def submit(job: Job, asked: Mapping[str, Any]) -> str:
        return f"in loop {id(asyncio.get_running_loop())}"

    @registry.task("it")
    def it(payload: Any, context: Context) -> str:
        async def main() -> str:
            return await context.submit({})

        return asyncio.run(main())

    executors = Executors(TaskExecutor(registry, threads=1, submit=submit))
    ending = await executors.run(a_job(body={"task": "it"}))
    assert ending == Succeeded(f"in loop {id(asyncio.get_running_loop())}")


def test_a_plain_function_that_could_not_await_is_told(registry: Registry) -> None:
    """Else nothing would be submitted, and nobody would hear of it."""

    @registry.task("it")
    def it(payload: Any, context: Context) -> None:
        _ = context.submit({})

    run = run_task("it", registry=registry)
    assert run.error is not None
    assert "submit_and_wait" in run.error.message


async def test_a_coroutine_that_would_block_the_worker_is_told(registry: Registry) -> None:
    @registry.task("it")
    async def it(payload: Any, context: Context) -> None:
        context.submit_and_wait({})

    executors = Executors(TaskExecutor(registry, threads=1))
    ending = await executors.run(a_job(body={"task": "it"}))
    assert "submit()" in failure(ending).error.message


async def test_what_runs_on_after_its_attempt_submits_nothing_beside_the_next_one(
    registry: Registry,
) -> None:
    refused = threading.Event()

    @registry.task("it", timeout=0.05)
    def it(payload: Any, context: Context) -> None:
        while not context.cancelled:
            threading.Event().wait(0.005)
        try:
            context.submit_and_wait({})
        except RuntimeError:
            refused.set()

    ran = await run_task_async(it, registry=registry)
    assert ran.outcome == "timed_out"
    await eventually(refused.is_set)
    assert ran.submitted == []


async def test_a_thread_that_waits_for_rabbitmq_waits_no_longer_than_its_attempt(
    registry: Registry,
) -> None:
    """It would submit beside the next attempt, and have its slot until RabbitMQ is back."""
    submitted: list[Any] = []
    is_back = asyncio.Event()

    async def submit(job: Job, asked: Mapping[str, Any]) -> str:
        await is_back.wait()
        submitted.append(asked)
        return "its id"

    @registry.task("it")
    def it(payload: Any, context: Context) -> None:
        context.submit_and_wait({"task": "mail"})

    executors = Executors(TaskExecutor(registry, threads=1, submit=submit))
    job = a_job(body={"task": "it", "timeout": 0.2})
    assert isinstance(await executors.run(job), TimedOut)
    runaway = executors.pop_abandoned(job)
    assert isinstance(runaway, Future)
    ending = await asyncio.wait_for(asyncio.wrap_future(runaway), 5)
    assert "has ended" in failure(ending).error.message
    is_back.set()
    await asyncio.sleep(0)
    assert submitted == []


@pytest.mark.parametrize("asked", [{"queue": "a b"}, {"payload": 2**70}, {"payload": "x" * 10**6}])
def test_a_job_that_is_none_is_refused_where_it_is_submitted(
    registry: Registry, asked: dict[str, Any]
) -> None:
    @registry.task("it")
    def it(payload: Any, context: Context) -> None:
        context.submit_and_wait(asked)

    ran = run_task(it, registry=registry)
    assert ran.error is not None
    assert ran.error.type == Rejected.__name__
    assert ran.submitted == []


class Doubtful:
    """An intake whose confirms do not come at first."""

    def __init__(self) -> None:
        self.seen: list[Submission] = []

    async def publish(self, submissions: Sequence[Submission]) -> None:
        self.seen.extend(submissions)
        if len(self.seen) < 3:
            raise UnknownOutcome("RabbitMQ", "no confirm in time")


async def test_a_publish_without_a_confirm_is_repeated_as_the_same_job() -> None:
    clock = ManualClock()
    intake = Doubtful()
    job = a_job(traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    ups = FollowUps(intake, clock, SeededChance(1))
    submitting = asyncio.ensure_future(ups.submit(job, {"task": "next"}))
    for _ in range(10):
        await clock.run(1)
    assert {each.id for each in intake.seen} == {await submitting}
    assert len(intake.seen) == 3
    assert intake.seen[0].traceparent == job.traceparent
