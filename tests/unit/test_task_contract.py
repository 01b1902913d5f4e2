"""What a task tells while it runs, and what a run without servers tells of it."""

import asyncio
import threading
from datetime import date, timedelta
from typing import Any

import pytest

from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Succeeded, TimedOut
from tests.builders import a_job
from tests.endings import failure
from tests.support import eventually
from tests.task_world import run
from workers.executors.task import TaskExecutor
from workers.notes import Notes
from workers.tasks import Context, Registry, Retry
from workers.testing import run_task


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def test_what_it_told_stands_in_its_record_however_it_ends(registry: Registry) -> None:
    async def it(payload: Any, context: Context) -> None:
        context.progress(0.25, "loaded")
        context.log("first")
        context.log("second\ud800")
        await asyncio.Event().wait()

    ending = await run(registry, it, timeout=0.05)
    assert isinstance(ending, TimedOut)
    assert ending.report == {
        "progress": {"fraction": 0.25, "note": "loaded"}, "log": "first\nsecond?\n"
    }  # fmt: skip


async def test_of_a_long_log_the_end_is_kept(registry: Registry) -> None:
    def it(payload: Any, context: Context) -> None:
        for number in range(10_000):
            context.log(f"line {number}")

    log = (await run(registry, it)).report["log"]  # type: ignore[union-attr]
    assert len(log) <= 16 * 1024
    assert log.endswith("line 9999\n")


async def test_who_tells_nothing_has_nothing_in_its_record(registry: Registry) -> None:
    async def it(payload: Any, context: Context) -> None: ...

    assert await run(registry, it) == Succeeded(None)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
async def test_progress_is_a_fraction(registry: Registry, fraction: float) -> None:
    async def it(payload: Any, context: Context) -> None:
        context.progress(fraction)

    assert failure(await run(registry, it)).error.type == "ValueError"


async def test_a_thread_hears_that_its_attempt_has_ended_and_is_heard_no_more(
    registry: Registry,
) -> None:
    seen: list[bool] = []
    notes = Notes()
    returned = threading.Event()

    @registry.task("it")
    def it(payload: Any, context: Context) -> None:
        seen.append(context.cancelled)
        while not context.cancelled:
            threading.Event().wait(0.005)
        context.log("too late")
        returned.set()

    executor = TaskExecutor(registry, threads=1, notes=notes)
    job = a_job(body={"task": "it", "timeout": 0.05})
    assert isinstance(await executor.run(job, job.spec.work), TimedOut)  # type: ignore[arg-type]
    await eventually(returned.is_set)
    executor.close()
    assert seen == [False]
    assert notes.told() == []
    assert notes.take_changed() == []


def test_a_run_tells_what_becomes_of_the_job(registry: Registry) -> None:
    @registry.task("it", retry={"max_attempts": 2})
    def it(payload: str, context: Context) -> str:
        context.progress(1, "done")
        context.log("hello")
        if payload == "later":
            raise Retry(delay=5)
        return payload

    fine = run_task("it", "x", registry=registry)
    assert (fine.outcome, fine.state, fine.result) == ("succeeded", "succeeded", "x")
    assert (fine.progress, fine.log) == ((1.0, "done"), "hello\n")
    later = run_task(it, "later", registry=registry)
    assert (later.outcome, later.state) == ("failed", "pending")
    assert later.retry_after == timedelta(seconds=5)
    assert run_task(it, "later", attempt=2, registry=registry).state == "dead"
    assert run_task(it, 5, registry=registry).state == "dead"


def test_a_function_that_is_no_task_is_said(registry: Registry) -> None:
    with pytest.raises(LookupError, match="@task"):
        run_task(lambda payload, context: None, registry=registry)


def test_a_run_is_given_the_payload_as_a_job_brings_it(registry: Registry) -> None:
    """As JSON: what it has no type for is text by then, what it cannot say is no job."""

    @registry.task("it")
    def it(payload: Any, context: Context) -> str:
        return repr([payload, context.job["payload"]])

    ran = run_task("it", {"day": date(2026, 12, 1), "pages": (1, 2)}, registry=registry)
    asked = {"day": "2026-12-01", "pages": [1, 2]}
    assert ran.result == repr([asked, asked])
    for payload in (float("nan"), 2**64, {"k" * 300_000: 1}):
        with pytest.raises(Rejected):
            run_task("it", payload, registry=registry)
