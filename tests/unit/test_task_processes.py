"""Functions in processes: as in the worker itself, but they can die and be killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.domain.body import read_spec
from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Ending, Succeeded, TimedOut
from pipeline.domain.job import Job
from tests.builders import a_job
from tests.endings import failure
from tests.process_tasks import PROCESS_TASKS
from tests.support import eventually, is_alive
from workers.asked import body_of
from workers.executors.task import TaskExecutor


class World:
    def __init__(self) -> None:
        self.submitted: list[Mapping[str, Any]] = []
        self.executor = TaskExecutor(PROCESS_TASKS, threads=1, submit=self._submit)

    async def _submit(self, job: Job, asked: Mapping[str, Any]) -> str:
        read_spec(body_of(asked))
        self.submitted.append(asked)
        return f"after {job.id}"

    async def run(self, task: str, payload: Any, **fields: Any) -> Ending:
        timeout = fields.pop("timeout", 20)
        job = a_job(body={"task": task, "payload": payload, "timeout": timeout}, **fields)
        return await self.executor.run(job, job.spec.work)  # type: ignore[arg-type]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Its processes are collected before its loop is gone; nobody could later."""
    world, others = World(), children()
    yield world
    world.executor.close()
    await eventually(lambda: children() <= others)


def children() -> set[int]:
    """Of this process, those too that have ended and were not collected."""
    return set(
        map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
    )


async def test_it_runs_elsewhere_with_the_payload_that_it_is_typed_for(world: World) -> None:
    ending = await world.run("add", {"numbers": [1, "2", 3]}, attempt=4)
    assert isinstance(ending, Succeeded)
    assert (ending.result["sum"], ending.result["attempt"]) == (6, 4)
    assert ending.result["pid"] != os.getpid()
    assert await world.run("add_later", {"numbers": [1, 1]}) == Succeeded(2)


async def test_a_process_is_used_again(world: World) -> None:
    pids = set()
    for _ in range(3):
        ending = await world.run("add", {"numbers": []})
        pids.add(ending.result["pid"])  # type: ignore[union-attr]
    assert len(pids) == 1


async def test_it_is_the_function_that_was_registered_whatever_has_its_name_now(
    world: World,
) -> None:
    assert await world.run("first_namesake", None) == Succeeded("first")
    assert await world.run("second_namesake", None) == Succeeded("second")
    assert await world.run("wrapped", "quiet") == Succeeded("quiet")


async def test_what_a_function_has_started_does_not_run_on_after_it(
    world: World, tmp_path: Path
) -> None:
    """It would run beside the next attempt, and be there as long as the worker."""
    ending = await world.run("leave_a_process", str(tmp_path / "pid"))
    assert isinstance(ending, Succeeded)
    await eventually(lambda: not any(map(is_alive, ending.result.values())), timeout=1)
    assert isinstance(await world.run("add", {"numbers": []}), Succeeded)


async def test_a_payload_that_does_not_fit_is_not_tried_again(world: World) -> None:
    ending = failure(await world.run("add", {"numbers": ["x"]}))
    assert (ending.error.type, ending.retryable) == ("bad_payload", False)
    (error,) = ending.report["errors"]
    assert error["pointer"] == "/numbers/0"


async def test_what_it_raises_means_the_same_as_in_the_worker(world: World) -> None:
    retry = failure(await world.run("raise", "retry"))
    assert retry.retry_after is not None
    assert (retry.retryable, retry.retry_after.total_seconds()) == (True, 7)
    assert not failure(await world.run("raise", "fail")).retryable
    assert failure(await world.run("raise", "exit")).error.type == "SystemExit"
    broken = failure(await world.run("raise", "odd")).error
    assert (broken.type, broken.message) == ("ValueError", "odd")
    assert "in raise_it" in (broken.detail or "")


async def test_a_crash_is_a_failure_of_its_own_job_alone(world: World) -> None:
    others = [asyncio.ensure_future(world.run("add", {"numbers": [n]})) for n in range(2)]
    crashed = failure(await world.run("die", int(signal.SIGSEGV)))
    assert crashed.error.type == "crashed"
    assert crashed.report == {"exit_code": None, "signal": "SIGSEGV"}
    assert crashed.retryable
    assert [ending.result["sum"] for ending in await asyncio.gather(*others)] == [0, 1]  # type: ignore[union-attr]
    assert failure(await world.run("quit", 5)).report["exit_code"] == 5
    assert failure(await world.run("die", 40)).report["signal"] == "signal 40"
    assert isinstance(await world.run("add", {"numbers": [1]}), Succeeded)


async def test_a_process_that_nobody_hears_any_more_is_killed_and_that_is_said(
    world: World,
) -> None:
    """SIGKILL alone would look like the system's, for want of memory."""
    ending = failure(await world.run("go_silent", None))
    assert (ending.error.type, ending.report) == ("crashed", {"exit_code": None, "signal": None})
    assert "closed its connection" in ending.error.message


async def test_a_crash_is_noticed_although_its_children_live_on(
    world: World, tmp_path: Path
) -> None:
    written = tmp_path / "pids"
    crashed = failure(await world.run("die_with_family", str(written)))
    assert (crashed.error.type, crashed.report["signal"]) == ("crashed", "SIGKILL")
    family = [int(word) for word in written.read_text().split()]
    assert len(family) == 2
    await eventually(lambda: not any(map(is_alive, family)), timeout=1)


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_a_process_that_was_killed_while_it_was_idle_is_replaced(
    world: World, is_noticed: bool
) -> None:
    """Also if nobody had heard of its death when it was given a job: it never began that."""
    ending = await world.run("add", {"numbers": []})
    pid = ending.result["pid"]  # type: ignore[union-attr]
    os.kill(pid, signal.SIGKILL)
    if is_noticed:
        await eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert isinstance(await world.run("add", {"numbers": []}), Succeeded)


async def test_a_timeout_kills_what_never_returns_and_what_it_started(
    world: World, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert isinstance(await world.run("spin", str(tmp_path / "pids"), timeout=3), TimedOut)
    assert loop.time() - began < 4
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    await eventually(lambda: not any(map(is_alive, pids)), timeout=1)


async def test_a_cancelled_attempt_is_killed_within_a_second(world: World, tmp_path: Path) -> None:
    running = asyncio.ensure_future(world.run("spin", str(tmp_path / "pids")))
    text = await eventually((tmp_path / "pids").read_text)
    pids = [int(word) for word in text.split()]
    assert all(map(is_alive, pids))
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await eventually(lambda: not any(map(is_alive, pids)), timeout=1)


async def test_it_tells_and_submits_through_the_worker(world: World) -> None:
    ending = await world.run("tell", {"n": 1}, id="the-job")
    assert isinstance(ending, Succeeded)
    assert ending.result == "after the-job"
    assert ending.report == {"progress": {"fraction": 0.5, "note": "half"}, "log": "a line\n"}
    assert world.submitted == [{"task": "next", "payload": {"n": 1}}]


async def test_what_it_tells_is_cut_and_made_storable_as_in_a_thread(world: World) -> None:
    ending = await world.run("tell_oddly", None)
    assert isinstance(ending, Succeeded)
    assert ending.report == {
        "progress": {"fraction": 1.0, "note": "?" + 499 * "x"}, "log": 4000 * "x" + "\n7\n"
    }  # fmt: skip


async def test_what_a_function_has_left_behind_speaks_for_no_other_attempt(
    world: World, tmp_path: Path
) -> None:
    """The next one runs in the same process, on the same socket."""
    written = tmp_path / "late"
    first = await world.run("leave_a_thread", str(written))
    await eventually(written.exists)
    second = await world.run("add", {"numbers": [1]})
    assert isinstance(first, Succeeded)
    assert isinstance(second, Succeeded)
    assert (second.result["sum"], second.result["pid"]) == (1, first.result)
    assert (first.report, second.report, world.submitted) == ({}, {}, [])
    await eventually(written.with_suffix(".refused").exists)


async def test_a_job_that_is_too_large_is_refused_where_it_is_submitted(world: World) -> None:
    ending = failure(await world.run("ask_for_much", None))
    assert ending.error.type == Rejected.__name__


async def test_a_job_that_is_none_is_told_to_who_submits_it(world: World) -> None:
    ending = failure(await world.run("ask_badly", None))
    assert ending.error.type == Rejected.__name__
    assert "/queue" in ending.error.message


WORKER = """
import asyncio, sys
from tests.builders import a_job
from tests.process_tasks import PROCESS_TASKS
from workers.executors.task import TaskExecutor
job = a_job(body={"task": "spin", "payload": sys.argv[1]})
asyncio.run(TaskExecutor(PROCESS_TASKS, 1).run(job, job.spec.work))
"""


async def test_a_killed_worker_leaves_no_process(tmp_path: Path) -> None:
    """Else it would run on beside its successor on another worker."""
    written = tmp_path / "pids"
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, str(written))
    pids = [int(word) for word in (await eventually(written.read_text, timeout=20)).split()]
    assert all(map(is_alive, pids))
    worker.kill()
    await worker.wait()
    await eventually(lambda: not any(map(is_alive, pids)), timeout=2)


async def test_closing_leaves_no_process(world: World) -> None:
    ending = await world.run("add", {"numbers": []})
    world.executor.close()
    pid = ending.result["pid"]  # type: ignore[union-attr]
    await eventually(lambda: not is_alive(pid), timeout=1)


def test_a_function_that_no_other_process_can_find_is_refused() -> None:
    def local(payload: Any, context: Any) -> None: ...

    with pytest.raises(ValueError, match="module"):
        PROCESS_TASKS.task("local", process=True)(local)
