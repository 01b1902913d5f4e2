"""Run a task without servers, the way a worker runs it: for the tests of those who write tasks.

from workers.testing import run_task

def test_a_report_needs_a_customer() -> None:
    run = run_task(nightly, {"customer": "c-7"})
    assert run.result == {"pages": 3}
    assert run.submitted == [{"task": "mail", "payload": {"to": "c-7"}}]
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.body import read_spec
from pipeline.domain.execution import Ending, ErrorInfo, Failed, Succeeded, conclude
from pipeline.domain.job import Job, Submission, TaskWork
from pipeline.domain.states import Event, State
from workers.asked import body_of
from workers.executors.task import TaskExecutor
from workers.follow_ups import FollowUps
from workers.tasks import REGISTRY, Function, Registry


@dataclass(frozen=True, slots=True)
class TaskRun:
    """How an attempt ended, and what it told meanwhile.

    `outcome` is `succeeded`, `failed` or `timed_out`; `state` where the job goes from there:
    `succeeded`, `dead`, or `pending` to be tried again after `retry_after` if the task said so.
    `log` and `progress` are as the record keeps them; `submitted` are the jobs it submitted.
    """

    outcome: str
    state: State
    result: Any
    error: ErrorInfo | None
    retry_after: timedelta | None
    progress: tuple[float, str | None] | None
    log: str
    submitted: Sequence[Mapping[str, Any]]


def run_task(
    task: str | Function,
    payload: Any = None,
    *,
    attempt: int = 1,
    registry: Registry = REGISTRY,
    **job: Any,
) -> TaskRun:
    """Run one attempt of a registered task; `job` are further fields of the job (`timeout`, …).

    The payload goes as JSON, as it does to a worker. Raises `pipeline.domain.errors.Rejected` for
    what would not become a job.
    """
    return asyncio.run(run_task_async(task, payload, attempt=attempt, registry=registry, **job))


async def run_task_async(
    task: str | Function,
    payload: Any = None,
    *,
    attempt: int = 1,
    registry: Registry = REGISTRY,
    **job: Any,
) -> TaskRun:
    """As `run_task`, where there is a loop already."""
    clock, chance = StoreClock(), SystemChance()
    intake = _Recorded([])
    executor = TaskExecutor(registry, 1, submit=FollowUps(intake, clock, chance).submit)
    asked = body_of({"task": _name_of(task, registry), "payload": payload, **job})
    now = clock.now()
    running = Job(chance.job_id(), read_spec(asked), asked, State.RUNNING, now, now, attempt,
                  failures=attempt - 1, started_at=now)  # fmt: skip
    work = running.spec.work
    assert isinstance(work, TaskWork)
    try:
        ending = await executor.run(running, work)
    finally:
        executor.close()
    return _told(executor.judged(running), ending, intake.bodies)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """An intake that keeps what it is given."""

    bodies: list[Mapping[str, Any]]

    async def publish(self, submissions: Sequence[Submission]) -> None:
        self.bodies.extend(each.body for each in submissions)


def _name_of(task: str | Function, registry: Registry) -> str:
    if isinstance(task, str):
        return task
    names = [name for name, each in registry.tasks.items() if each.function is task]
    if not names:
        raise LookupError(f"{task!r} is no task: it lacks @task, or its module was not imported")
    return names[0]


def _told(job: Job, ending: Ending, submitted: Sequence[Mapping[str, Any]]) -> TaskRun:
    execution = conclude(job, ending, finished_at=job.created_at, lot=0.0)
    after = {Event.SUCCEED: State.SUCCEEDED, Event.DIE: State.DEAD}
    progress = execution.report.get("progress")
    return TaskRun(
        outcome=execution.outcome.value,
        state=after.get(execution.decision.event, State.PENDING),
        result=ending.result if isinstance(ending, Succeeded) else None,
        error=execution.error,
        retry_after=ending.retry_after if isinstance(ending, Failed) else None,
        progress=(progress["fraction"], progress["note"]) if progress else None,
        log=str(execution.report.get("log", "")),
        submitted=submitted,
    )
