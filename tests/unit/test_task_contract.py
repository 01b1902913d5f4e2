"""What a task may ask for: its own end, its progress, more jobs."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pipeline.domain.errors import Rejected, UnknownOutcome
from pipeline.domain.execution import Ending, Failed, Succeeded, TimedOut
from pipeline.domain.job import Job, Submission
from pipeline.domain.states import Event
from tests.builders import a_job, an_execution
from tests.fakes.clock import ManualClock, SeededChance
from tests.support import eventually
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.follow_ups import FollowUps
from workers.notes import Notes
from workers.tasks import Context, Fail, Registry, Retry
from workers.testing import run_task, run_task_async


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def run(registry: Registry, function: Any, payload: Any = None, **body: Any) -> Ending:
    registry.task("it")(function)
    executors = Executors(TaskExecutor(registry, threads=2))
    return await executors.run(a_job(body={"task": "it", "payload": payload, **body}))


def failure(ending: Ending) -> Failed:
    assert isinstance(ending, Failed), ending
    return ending


# -- its own end


async def test_it_says_when_to_try_again(registry: Registry) -> None:
    async def it(payload: Any, context: Context) -> None:
        raise Retry("the bank is closed", delay=90)

    ending = failure(await run(registry, it))
    assert ending.error.message == "the bank is closed"
    assert (ending.retryable, ending.retry_after) == (True, timedelta(seconds=90))


class Busy(Retry):
    """One of theirs, with a delay of its own."""

    delay = Decimal("2.5")


@pytest.mark.parametrize(
    "asked", [Retry(delay=Decimal("2.5")), Retry(delay=timedelta(seconds=2.5)), Busy("so it is")]
)
async def test_a_delay_is_a_number_of_any_type(registry: Registry, asked: Retry) -> None:
    def it(payload: Any, context: Context) -> None:
        raise asked

    ending = failure(await run(registry, it))
    assert (ending.error.type, ending.retry_after) == ("Retry", timedelta(seconds=2.5))


class Soon(Retry):
    """Said wrong."""

    delay: Any = "soon"


async def test_a_delay_that_is_none_is_a_failure_of_its_attempt_alone(registry: Registry) -> None:
    """It took the worker down with all that ran there."""

    def it(payload: str, context: Context) -> None:
        raise Soon("x") if payload == "class" else Retry("x", delay=payload)  # type: ignore[arg-type]

    executors = Executors(TaskExecutor(registry, threads=2))
    registry.task("it")(it)
    for payload in ("class", "90"):
        job = a_job(body={"task": "it", "payload": payload})
        ending = failure(await executors.run(job))
        assert (ending.error.type, ending.retryable) == ("TypeError", True)
        assert "seconds or a timedelta" in ending.error.message
        assert an_execution(job, ending).decision.event is Event.RETRY


async def test_it_need_not_say_why_it_is_in_vain(registry: Registry) -> None:
    async def it(payload: Any, context: Context) -> None:
        raise Fail

    ending = failure(await run(registry, it))
    assert (ending.error.type, ending.retryable) == ("Fail", False)


async def test_it_says_that_to_try_again_is_in_vain(registry: Registry) -> None:
    def it(payload: Any, context: Context) -> None:
        raise Fail("no such customer")

    ending = failure(await run(registry, it))
    assert (ending.error.message, ending.retryable) == ("no such customer", False)


async def test_what_it_says_in_a_group_counts(registry: Registry) -> None:
    """So it comes out of a `TaskGroup`."""

    async def part(error: Exception) -> None:
        raise error

    async def it(payload: str, context: Context) -> None:
        said = Fail("in vain") if payload == "fail" else Retry("soon", delay=7)
        async with asyncio.TaskGroup() as group:
            group.create_task(part(ValueError("broken")))
            group.create_task(part(said))

    executors = Executors(TaskExecutor(registry, threads=1))
    registry.task("it")(it)
    endings = [
        failure(await executors.run(a_job(body={"task": "it", "payload": payload})))
        for payload in ("fail", "retry")
    ]
    assert [(each.error.message, each.retryable) for each in endings] == [
        ("in vain", False), ("soon", True)
    ]  # fmt: skip
    assert endings[1].retry_after == timedelta(seconds=7)
    assert "ValueError: broken" in (endings[0].error.detail or "")


async def test_what_made_it_say_so_is_told(registry: Registry) -> None:
    def it(payload: Any, context: Context) -> None:
        try:
            raise ValueError("broken")
        except ValueError as error:
            raise Retry("soon") from error

    assert "ValueError: broken" in (failure(await run(registry, it)).error.detail or "")


def test_its_retry_policy_is_for_jobs_that_do_not_say(registry: Registry) -> None:
    registry.task("it", retry={"max_attempts": 1})(lambda payload, context: None)
    executors = Executors(TaskExecutor(registry, threads=1))
    silent, saying = a_job(body={"task": "it"}), a_job(body={"task": "it", "retry": {}})
    assert executors.judged(silent).spec.retry.max_attempts == 1
    assert executors.judged(saying) is saying
    http = a_job(body={"http": {"url": "http://x.example/"}})
    assert executors.judged(http) is http


# -- what it tells


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


# -- run without servers, and more jobs


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
    async def it(payload: Any, context: Context) -> None:
        context.submit_and_wait({})

    assert "submit()" in failure(await run(registry, it)).error.message


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
