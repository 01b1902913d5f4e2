"""A function whose time is over: what becomes of it, and of what runs on."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest

from pipeline.domain.execution import TimedOut
from pipeline.domain.job import Job
from tests.builders import a_job
from tests.task_world import Run, runner
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.tasks import Context, Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def run(registry: Registry) -> Run:
    return runner(registry)


async def test_the_timeout_of_the_job_stops_a_coroutine(run: Run) -> None:
    async def it(payload: Any, context: Context) -> None:
        await asyncio.Event().wait()

    ending = await run(it, timeout=0.01)
    assert isinstance(ending, TimedOut)
    assert "0.01 s" in ending.error.message


async def test_the_timeout_of_the_function_caps_that_of_the_job(registry: Registry) -> None:
    @registry.task("capped", timeout=0.01)
    async def capped(payload: Any, context: Context) -> None:
        await asyncio.Event().wait()

    executors = Executors(TaskExecutor(registry, threads=1))
    assert isinstance(await executors.run(a_job(body={"task": "capped"})), TimedOut)


async def test_code_that_answers_its_timeout_with_a_result_has_timed_out(run: Run) -> None:
    async def it(payload: Any, context: Context) -> str:
        try:
            await asyncio.Event().wait()
        except BaseException:
            return "fine"
        return "never"

    assert isinstance(await run(it, timeout=0.01), TimedOut)


async def test_a_coroutine_that_will_not_be_cancelled_is_left_behind_within_a_second(
    registry: Registry,
) -> None:
    gate = asyncio.Event()
    executors = Executors(TaskExecutor(registry, threads=1))

    @registry.task("stubborn")
    async def stubborn(payload: Any, context: Context) -> None:
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await gate.wait()

    job: Job = a_job(body={"task": "stubborn", "timeout": 0.01})
    async with asyncio.timeout(1):
        assert isinstance(await executors.run(job), TimedOut)
    runaway = executors.pop_abandoned(job)
    assert isinstance(runaway, asyncio.Task)
    assert not runaway.done()
    gate.set()
    await runaway


async def test_a_coroutine_has_a_moment_to_clean_up(registry: Registry) -> None:
    executors = Executors(TaskExecutor(registry, threads=1))
    cleaned: list[bool] = []

    @registry.task("tidy")
    async def tidy(payload: Any, context: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            cleaned.append(context.cancelled)

    job: Job = a_job(body={"task": "tidy", "timeout": 0.01})
    assert isinstance(await executors.run(job), TimedOut)
    assert cleaned == [False]
    assert executors.pop_abandoned(job) is None


async def test_a_thread_that_outlives_its_timeout_is_told_of_once(registry: Registry) -> None:
    gate = threading.Event()
    executor = TaskExecutor(registry, threads=1)
    executors = Executors(executor)

    @registry.task("stubborn")
    def stubborn(payload: Any, context: Context) -> None:
        gate.wait(5)

    job: Job = a_job(body={"task": "stubborn", "timeout": 0.01})
    assert isinstance(await executors.run(job), TimedOut)
    thread = executors.pop_abandoned(job)
    assert isinstance(thread, Future)
    assert thread.running()
    assert executors.pop_abandoned(job) is None
    gate.set()
    thread.result(5)
    executor.close()
