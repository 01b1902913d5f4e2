"""Python functions: coroutines on the worker's loop, plain ones in threads.

Whatever the code raises, `SystemExit` too, ends its own attempt and nothing else. A thread cannot
be stopped: its attempt ends without it, and `pop_abandoned` tells which thread that is.
"""

import asyncio
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from pipeline.domain.body import check_value
from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import Job, TaskWork
from workers.executors.executor import (
    DETAIL_CHARS,
    OUTPUT_BYTES,
    Thread,
    failed,
    is_being_cancelled,
)
from workers.tasks import Context, Registry, Task

_FRAMES = -50


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a thread hands over instead of raising: not every exception passes through a future."""

    error: BaseException


class TaskExecutor:
    """Runs what is registered; `threads` is how many plain functions run at the same time."""

    def __init__(self, registry: Registry, threads: int) -> None:
        self._registry = registry
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="task")
        self._abandoned: dict[str, Thread] = {}

    def close(self) -> None:
        """Start no more threads; those that run are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def timeout_of(self, job: Job, work: TaskWork) -> float:
        """The job's timeout, capped by the function's own."""
        task = self._registry.get(work.task)
        if task is None or task.timeout is None:
            return job.spec.timeout
        return min(job.spec.timeout, task.timeout)

    async def run(self, job: Job, work: TaskWork) -> Ending:
        """Call the function with the payload; its result or its exception is the ending."""
        task = self._registry.get(work.task)
        if task is None:
            return failed("unsupported", f"this worker has no task {work.task!r}")
        context = Context(job.id, job.attempt, job.queue, job.due_at)
        try:
            result = await self._call(task, work.payload, context)
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            return _failure_of(error)
        except BaseException as error:  # users' code: SystemExit must not end the worker
            return _failure_of(error)
        return _success_of(result)

    def pop_abandoned(self, job: Job) -> Thread | None:
        """The thread that runs on although its attempt has just ended; told once."""
        return self._abandoned.pop(job.id, None)

    async def _call(self, task: Task, payload: Any, context: Context) -> Any:
        if task.is_coroutine:
            return await task.function(payload, context)
        thread: Thread = self._pool.submit(_call_in_thread, task, payload, context)
        try:
            result = await asyncio.wrap_future(thread)
        except asyncio.CancelledError:
            if thread.running():
                self._abandoned[context.job_id] = thread
            raise
        if isinstance(result, _Raised):
            raise result.error
        return result


def _call_in_thread(task: Task, payload: Any, context: Context) -> object:
    try:
        result: object = task.function(payload, context)
    except BaseException as error:
        return _Raised(error)
    return result


def _success_of(result: Any) -> Ending:
    """The result as JSON, or why it is none."""
    try:
        value = to_jsonable_python(result)
        check_value(value)
        size = len(to_json(value))
    except (PydanticSerializationError, Rejected, ValueError, RecursionError) as error:
        return failed("bad_result", f"the result cannot be stored as JSON: {error}")
    if size > OUTPUT_BYTES:
        return failed(
            "bad_result", f"the result has {size} bytes of JSON, more than {OUTPUT_BYTES}"
        )
    return Succeeded(value)


def _failure_of(error: BaseException) -> Ending:
    story = "".join(traceback.format_exception(error, limit=_FRAMES))
    return failed(type(error).__name__, _text_of(error), detail=story[-DETAIL_CHARS:])


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"
