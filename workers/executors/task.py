"""Python functions: coroutines on the worker's loop, plain ones in threads, others in processes.

Whatever the code raises, `SystemExit` too, ends its own attempt and nothing else. A thread cannot
be stopped, nor a coroutine that takes no notice of being cancelled: the attempt ends without them,
and `pop_abandoned` tells what runs on.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from pipeline.domain.execution import Ending
from pipeline.domain.job import Job, TaskWork
from workers.executors.executor import Runaway, failed, reporting, within
from workers.executors.processes import Processes
from workers.executors.task_endings import failure_of, success_of
from workers.notes import Note, Notes
from workers.tasks import Context, Registry, Task

_CLEAN_UP = 0.8
"""Seconds for a coroutine that was cancelled to end; all of it shall be over within one."""

_TOLD = 20
"""Names of tasks, in the failure of a job that names another."""

Submit = Callable[[Job, Mapping[str, Any]], Awaitable[str]]
"""Submits a job that another job asks for; its id."""


async def submit_nowhere(job: Job, asked: Mapping[str, Any]) -> str:
    """For workers that have no way to submit."""
    raise RuntimeError("this worker cannot submit jobs")


class TaskExecutor:
    """Runs what is registered; `threads` is how many plain functions run at the same time."""

    def __init__(
        self,
        registry: Registry,
        threads: int,
        notes: Notes | None = None,
        submit: Submit = submit_nowhere,
    ) -> None:
        self._registry = registry
        self._notes = notes or Notes()
        self._submit = submit
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="task")
        self._processes = Processes()
        self._abandoned: dict[str, Runaway] = {}

    def close(self) -> None:
        """Start no more threads; those that run are not waited for. Processes are killed."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._processes.close()

    def timeout_of(self, job: Job) -> float:
        """The job's timeout, capped by the function's own."""
        task = self._registry.get(job.spec.task or "echo")
        if task is None or task.timeout is None:
            return job.spec.timeout
        return min(job.spec.timeout, task.timeout)

    def judged(self, job: Job) -> Job:
        """The job with the retry policy of its task, unless it says itself."""
        task = self._registry.get(job.spec.task or "echo")
        if task is None or task.retry is None or "retry" in job.spec.model_fields_set:
            return job
        return replace(job, spec=job.spec.model_copy(update={"retry": task.retry}))

    async def run(self, job: Job, work: TaskWork) -> Ending:
        """Call the function with the payload; its result or its exception is the ending.

        Keeps the time itself. What the function told is in the report.
        """
        task = self._registry.get(work.task)
        if task is None:
            return failed("unsupported", self._without(work.task))
        with self._notes.of(job) as note:
            ending = await within(self.timeout_of(job), self._ending(task, job, work.payload, note))
            return reporting(ending, note.report())

    def _without(self, name: str) -> str:
        names = sorted(self._registry.tasks)
        more = "" if len(names) <= _TOLD else f" and {len(names) - _TOLD} more"
        return (
            f"this worker has no task {name!r}; it has {', '.join(names[:_TOLD]) or 'none'}{more}"
        )

    def pop_abandoned(self, job: Job) -> Runaway | None:
        """What runs on although its attempt has just ended; told once."""
        return self._abandoned.pop(job.id, None)

    async def _ending(self, task: Task, job: Job, payload: Any, note: Note) -> Ending:
        channel = _Channel(job, note, self._submit)
        context = Context(
            job.id, job.attempt, job.queue, job.due_at, job.body, channel,
            schedule_id=job.schedule_id, fire_time=job.fire_time,
        )  # fmt: skip
        try:
            return await self._call(task, payload, context)
        except OSError as error:  # of a process that could not be started
            return failure_of(error)
        finally:
            channel.end()

    async def _call(self, task: Task, payload: Any, context: Context) -> Ending:
        if task.process:
            return await self._processes.run(task, payload, context)
        if task.is_coroutine:
            return await self._await_coroutine(task, payload, context)
        return await self._await_thread(task, payload, context)

    async def _await_coroutine(self, task: Task, payload: Any, context: Context) -> Ending:
        running = asyncio.ensure_future(_ending_on_loop(task, payload, context))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            running.cancel()
            try:
                await asyncio.wait([running], timeout=_CLEAN_UP)
            finally:
                if not running.done():
                    self._abandoned[context.job_id] = running
            raise

    async def _await_thread(self, task: Task, payload: Any, context: Context) -> Ending:
        thread = self._pool.submit(_ending_in_thread, task, payload, context)
        try:
            return await asyncio.wrap_future(thread)
        except asyncio.CancelledError:
            if thread.running():
                self._abandoned[context.job_id] = thread
            raise


async def _ending_on_loop(task: Task, payload: Any, context: Context) -> Ending:
    try:
        return success_of(await task.function(task.fit(payload), context))
    except BaseException as error:  # users' code: SystemExit must not end the worker
        return failure_of(error)


def _ending_in_thread(task: Task, payload: Any, context: Context) -> Ending:
    """All that users' code has a part in, their types too: none of it may hold up the loop."""
    try:
        return success_of(task.function(task.fit(payload), context))
    except BaseException as error:
        return failure_of(error)


class _Channel:
    """What the function of one attempt talks to, from the loop or from its thread."""

    def __init__(self, job: Job, note: Note, submit: Submit) -> None:
        self._job, self._note, self._submit = job, note, submit
        self._loop = asyncio.get_running_loop()
        self._submitting: set[asyncio.Task[Any]] = set()
        self._has_ended = threading.Event()

    @property
    def cancelled(self) -> bool:
        return self._has_ended.is_set()

    def end(self) -> None:
        """The attempt has ended. A thread that waits for RabbitMQ waits no more: it would submit
        beside the next attempt, and keep its slot until RabbitMQ is back."""
        self._has_ended.set()
        for submitting in self._submitting:
            submitting.cancel()

    def progress(self, fraction: float, note: str | None) -> None:
        self._note.progress(fraction, note)

    def log(self, text: str) -> None:
        self._note.line(text)

    async def submit(self, job: Mapping[str, Any]) -> str:
        if _is_on(self._loop):
            return await self._submit_here(job)
        return await asyncio.wrap_future(self._submit_from_elsewhere(job))

    def submit_and_wait(self, job: Mapping[str, Any]) -> str:
        if _is_on(self._loop):
            raise RuntimeError("a coroutine awaits submit() instead: this would block the worker")
        return self._submit_from_elsewhere(job).result()

    def _submit_from_elsewhere(self, job: Mapping[str, Any]) -> Future[str]:
        """From a thread, which may have a loop of its own."""
        return asyncio.run_coroutine_threadsafe(self._submit_for_thread(job), self._loop)

    async def _submit_here(self, job: Mapping[str, Any]) -> str:
        self._check_running()
        return await self._submit(self._job, job)

    async def _submit_for_thread(self, job: Mapping[str, Any]) -> str:
        task = asyncio.current_task()
        assert task is not None
        self._submitting.add(task)
        try:
            return await self._submit_here(job)
        except asyncio.CancelledError:
            self._check_running()
            raise
        finally:
            self._submitting.discard(task)

    def _check_running(self) -> None:
        """What runs on after its end must not submit beside the attempt that comes after it."""
        if self.cancelled:
            raise RuntimeError("this attempt has ended: it submits no more jobs")


def _is_on(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
