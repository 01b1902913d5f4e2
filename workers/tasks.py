"""The Python functions that jobs may name. A job never names an import."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

Function = Callable[[Any, "Context"], Any]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True, slots=True)
class Context:
    """What a function may know of the attempt that calls it.

    A side effect can happen more than once. `job_id` is the same over all attempts of a job, and
    `attempt` only grows: a receiver that remembers both can drop the copies and refuse the late.
    """

    job_id: str
    attempt: int
    queue: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Task:
    """A registered function; `timeout` (seconds) caps the job's own."""

    name: str
    function: Function
    timeout: float | None
    is_coroutine: bool


class Registry:
    """Functions by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}

    def task(self, name: str, *, timeout: float | None = None) -> Callable[[F], F]:
        """Register the decorated `(payload, context)` function, coroutine or plain, under `name`.

        What it returns must be JSON. A plain one runs in a thread, which nobody can stop: after a
        timeout it keeps its slot until it returns.
        """
        if timeout is not None and timeout <= 0:
            raise ValueError(f"the timeout of task {name!r} must be more than nothing")

        def register(function: F) -> F:
            if name in self._tasks:
                raise ValueError(f"there is already a task {name!r}")
            is_coroutine = inspect.iscoroutinefunction(function)
            self._tasks[name] = Task(name, function, timeout, is_coroutine)
            return function

        return register

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Those registered so far."""
        return MappingProxyType(self._tasks)

    def get(self, name: str) -> Task | None:
        """The task of this name, if this process has it."""
        return self._tasks.get(name)


REGISTRY = Registry()
"""What `from workers import task` fills, and what `dueq worker` runs."""

task = REGISTRY.task


@task("echo")
async def echo(payload: Any, context: Context) -> Any:
    """The built-in: a job that asks for nothing returns its payload."""
    return payload
