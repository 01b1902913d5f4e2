"""What a task may say of its own end: when to try again, and that it would be in vain."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pipeline.domain.states import Event
from tests.builders import a_job, an_execution
from tests.endings import failure
from tests.task_world import run
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.tasks import Context, Fail, Registry, Retry


@pytest.fixture
def registry() -> Registry:
    return Registry()


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
        said = {"fail": Fail("in vain"), "retry": Retry("soon", delay=7)}
        async with asyncio.TaskGroup() as group:
            group.create_task(part(ValueError("broken")))
            for each in payload.split():
                group.create_task(part(said[each]))

    executors = Executors(TaskExecutor(registry, threads=1))
    registry.task("it")(it)
    endings = [
        failure(await executors.run(a_job(body={"task": "it", "payload": payload})))
        for payload in ("fail", "retry", "retry fail")
    ]
    assert [(each.error.message, each.retryable) for each in endings] == [
        ("in vain", False), ("soon", True), ("in vain", False)
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
