"""From a job's kind to the one that runs it."""

import asyncio
from dataclasses import dataclass
from typing import assert_never

from pipeline.cancelling import is_being_cancelled
from pipeline.domain.amqp_work import AmqpWork
from pipeline.domain.command_work import CommandWork
from pipeline.domain.execution import Ending
from pipeline.domain.http_work import HttpWork
from pipeline.domain.job import Job, Kind, TaskWork
from pipeline.telemetry import log
from workers.executors.executor import Executor, Runaway, failed, within
from workers.executors.task import TaskExecutor

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class Executors:
    """What this worker can run; a kind it has no executor for ends as `unsupported`."""

    task: TaskExecutor
    http: Executor[HttpWork] | None = None
    amqp: Executor[AmqpWork] | None = None
    command: Executor[CommandWork] | None = None

    async def run(self, job: Job) -> Ending:
        """Run this attempt; it ends within the job's timeout, a command a few seconds later.

        Code that had its time and was stopped has timed out, whatever it answers to that. Raises
        nothing but the `CancelledError` that was meant for it: a mistake of ours must not take
        down each worker in its turn. One that a driver lets out of a pending call is an error: a
        `TaskGroup` would take it for the end of the attempt, and its job would run for ever.
        """
        try:
            return await self._run(job)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            _log.exception("executor.failed", job=job.id, kind=job.spec.kind.value, next="retry")
            return failed("internal", f"{type(error).__name__}: {error}")

    async def _run(self, job: Job) -> Ending:
        work = job.spec.work
        match work:
            case TaskWork():
                # Keeps its time itself: what a function told before it was stopped is reported.
                return await self.task.run(job, work)
            case HttpWork() if self.http is not None:
                # Keeps its time itself: who did not answer in time may be sick.
                return await self.http.run(job, work)
            case AmqpWork() if self.amqp is not None:
                return await within(job.spec.timeout, self.amqp.run(job, work))
            case CommandWork() if self.command is not None:
                # Keeps its time itself: what a command wrote before it was stopped is reported.
                return await self.command.run(job, work)
            case CommandWork():
                text = "this worker runs no commands: it was started without --allow-commands"
                return failed("unsupported", text)
            case HttpWork() | AmqpWork():
                return failed("unsupported", f"this worker does not run {job.spec.kind} jobs")
            case _:
                assert_never(work)

    def timeout_of(self, job: Job) -> float:
        """How long its code may run, in seconds: a task may say less than the job."""
        return self.task.timeout_of(job) if job.spec.kind is Kind.TASK else job.spec.timeout

    def judged(self, job: Job) -> Job:
        """The job by whose policy the end of an attempt is judged: a task may bring its own."""
        return self.task.judged(job) if job.spec.kind is Kind.TASK else job

    def pop_abandoned(self, job: Job) -> Runaway | None:
        """What runs on although the attempt of `job` has just ended; told once."""
        return self.task.pop_abandoned(job)
