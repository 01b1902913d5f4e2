"""Python functions: whatever they do is an ending of their own attempt, and of nothing else."""

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import Job
from tests.builders import a_job
from tests.endings import failure, success
from tests.task_world import Run, runner
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.tasks import REGISTRY, Context, Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def run(registry: Registry) -> Run:
    return runner(registry)


async def test_a_job_that_names_nothing_is_echoed() -> None:
    executors = Executors(TaskExecutor(REGISTRY, threads=1))
    ending = await executors.run(a_job(body={"payload": {"a": [1, None, "ü"]}}))
    assert ending == Succeeded({"a": [1, None, "ü"]})


async def test_a_function_gets_its_payload_and_knows_its_attempt(run: Run) -> None:
    seen: list[tuple[Any, Context]] = []

    async def it(payload: Any, context: Context) -> None:
        seen.append((payload, context))

    assert await run(it, {"x": 1}) == Succeeded(None)
    ((payload, context),) = seen
    assert payload == {"x": 1}
    assert (context.attempt, context.queue) == (1, "default")
    with pytest.raises(AttributeError):
        context.attempt = 2  # type: ignore[misc]


async def test_a_plain_function_runs_in_a_thread_and_does_not_block_the_loop(run: Run) -> None:
    gate = threading.Event()

    def it(payload: Any, context: Context) -> str:
        gate.wait(5)
        return threading.current_thread().name

    running = asyncio.ensure_future(run(it))
    await asyncio.sleep(0)
    gate.set()
    assert success(await running).result.startswith("task")


async def test_an_unknown_task_is_unsupported_and_tried_again_elsewhere() -> None:
    executors = Executors(TaskExecutor(Registry(), threads=1))
    ending = failure(await executors.run(a_job(body={"task": "no.such"})))
    assert ending.error.type == "unsupported"
    assert ending.retryable


async def test_who_misspelt_a_task_or_forgot_an_import_reads_what_there_is(
    registry: Registry,
) -> None:
    for number in range(20):
        registry.task(f"other.{number:02}")(lambda payload, context: None)
    registry.task("mail")(lambda payload, context: None)
    executors = Executors(TaskExecutor(registry, threads=1))
    ending = failure(await executors.run(a_job(body={"task": "mial"})))
    assert "no task 'mial'; it has mail, other.00, " in ending.error.message
    assert ending.error.message.endswith(" and 1 more")


async def test_a_worker_without_commands_says_how_it_would_run_them() -> None:
    executors = Executors(TaskExecutor(Registry(), threads=1))
    ending = failure(await executors.run(a_job(body={"command": "true"})))
    assert "--allow-commands" in ending.error.message


@pytest.mark.parametrize(
    "body",
    [{"http": {"url": "http://x.example/"}}, {"amqp": {"routing_key": "k"}}, {"command": "true"}],
)
async def test_a_kind_that_this_worker_does_not_run_is_unsupported(body: dict[str, Any]) -> None:
    executors = Executors(TaskExecutor(Registry(), threads=1))
    ending = failure(await executors.run(a_job(body=body)))
    assert ending.error.type == "unsupported"
    assert ending.retryable


@pytest.mark.parametrize("in_thread", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        ValueError("broken"),
        TimeoutError("their own"),
        SystemExit(3),
        KeyboardInterrupt(),
        StopIteration("odd"),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_function_raises_is_a_failure_of_its_attempt(
    run: Run, error: BaseException, in_thread: bool
) -> None:
    def plain(payload: Any, context: Context) -> None:
        raise error

    async def coroutine(payload: Any, context: Context) -> None:
        raise error

    ending = failure(await run(plain if in_thread else coroutine))

    expected = type(error).__name__
    if isinstance(error, StopIteration) and not in_thread:
        expected = "RuntimeError"  # what Python makes of it on its way through a coroutine
    assert ending.error.type == expected
    assert ending.error.detail is not None
    assert "in plain" in ending.error.detail or "in coroutine" in ending.error.detail
    assert ending.retryable


async def test_a_long_story_is_cut_and_made_storable(run: Run) -> None:
    async def it(payload: Any, context: Context) -> None:
        raise ValueError("\ud800" + "x" * 100_000)

    error = failure(await run(it)).error
    assert len(error.message) <= 2000
    assert error.detail is not None
    assert len(error.detail) <= 16 * 1024
    (error.message + error.detail).encode()


async def test_an_exception_whose_text_cannot_be_had_is_still_a_failure(run: Run) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit

    async def it(payload: Any, context: Context) -> None:
        raise Mute

    assert failure(await run(it)).error.type == "Mute"


@pytest.mark.parametrize(
    "result",
    [
        object(),
        float("nan"),
        2**63,
        "\ud800",
        {"k\0": 1},
        "x" * 65_537,
        [[]] * 40_000,
    ],
    ids=["object", "nan", "2^63", "surrogate", "nul key", "too long", "too many"],
)
async def test_a_result_that_cannot_be_stored_is_a_bad_result(run: Run, result: Any) -> None:
    async def it(payload: Any, context: Context) -> Any:
        return result

    assert failure(await run(it)).error.type == "bad_result"


async def test_the_result_of_a_plain_function_is_made_in_its_thread(run: Run) -> None:
    """What is yielded is users' code, and a long result takes long: the loop has other jobs."""
    threads: list[str] = []

    def it(payload: Any, context: Context) -> Any:
        for n in range(2):
            threads.append(threading.current_thread().name)
            yield n

    assert await run(it) == Succeeded([0, 1])
    assert all(name.startswith("task") for name in threads)


async def test_a_coroutine_that_nobody_awaited_is_a_bad_result_and_says_so(run: Run) -> None:
    async def hidden() -> None: ...

    def it(payload: Any, context: Context) -> Any:
        return hidden()

    error = failure(await run(it)).error
    assert error.type == "bad_result"
    assert "coroutine" in error.message


async def test_a_deep_result_is_a_bad_result(run: Run) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    async def it(payload: Any, context: Context) -> Any:
        return deep

    assert failure(await run(it)).error.type == "bad_result"


async def test_a_result_that_can_be_written_as_json_is(run: Run) -> None:
    async def it(payload: Any, context: Context) -> Any:
        return {"at": datetime(2026, 1, 1, tzinfo=UTC), "of": (1, 2)}

    assert await run(it) == Succeeded({"at": "2026-01-01T00:00:00Z", "of": [1, 2]})


async def test_a_mistake_of_ours_is_a_failure_and_not_the_end_of_the_worker() -> None:
    class Broken:
        async def run(self, job: Job, work: Any) -> Ending:
            raise KeyError("ours")

    executors = Executors(TaskExecutor(Registry(), threads=1), amqp=Broken())
    with capture_logs() as logs:
        ending = failure(await executors.run(a_job(body={"amqp": {"routing_key": "k"}})))
    assert ending.error.type == "internal"
    assert [log["event"] for log in logs] == ["executor.failed"]


async def test_a_cancel_that_nobody_asked_for_is_a_failure_and_not_a_job_that_runs_for_ever() -> (
    None
):
    """A driver can let one out of a pending call when its connection goes."""

    class Broken:
        async def run(self, job: Job, work: Any) -> Ending:
            raise asyncio.CancelledError

    executors = Executors(TaskExecutor(Registry(), threads=1), amqp=Broken())
    with capture_logs() as logs:
        ending = failure(await executors.run(a_job(body={"amqp": {"routing_key": "k"}})))
    assert (ending.error.type, ending.retryable) == ("internal", True)
    assert [log["event"] for log in logs] == ["executor.failed"]
