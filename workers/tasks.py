"""The Python functions that jobs may name. A job never names an import."""

import asyncio
import inspect
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol, SupportsFloat, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from pipeline.domain.body import flaws_of
from pipeline.domain.errors import Flaw
from pipeline.domain.job import TASK_NAME
from pipeline.domain.retry import RetryPolicy
from workers.signature import is_importable, module_of, payload_type, place_of, takes_two

Function = Callable[[Any, "Context"], Any]
F = TypeVar("F", bound=Function)


class Retry(Exception):
    """Raised by a task: this attempt has failed; try again after `delay` (seconds).

    It counts as any failure does: after the last one that the job's policy allows, the job is dead.
    """

    delay: SupportsFloat | timedelta | None = None
    """A subclass may set it, too."""

    def __init__(self, reason: str = "", *, delay: SupportsFloat | timedelta | None = None) -> None:
        super().__init__(reason or "the task asks to be tried again")
        if delay is not None:
            self.delay = time_of(delay)


def time_of(delay: SupportsFloat | timedelta) -> timedelta:
    """Seconds, of whatever type. Raises `TypeError`, `ValueError` or `OverflowError`."""
    if isinstance(delay, timedelta):
        return delay
    if not isinstance(delay, SupportsFloat):
        raise TypeError(f"a delay is seconds or a timedelta, not {delay!r:.100}")
    return timedelta(seconds=float(delay))


class Fail(Exception):
    """Raised by a task: this has failed, and to try again would be in vain; the job is dead."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the task says that to try again would be in vain")


class Channel(Protocol):
    """How a running function talks to the worker that runs it."""

    @property
    def cancelled(self) -> bool: ...

    def progress(self, fraction: float, note: str | None) -> None: ...

    def log(self, text: str) -> None: ...

    async def submit(self, job: Mapping[str, Any]) -> str: ...

    def submit_and_wait(self, job: Mapping[str, Any]) -> str: ...


class _Nobody:
    """The other end of a context that nobody listens to."""

    cancelled = False

    def progress(self, fraction: float, note: str | None) -> None:
        pass

    def log(self, text: str) -> None:
        pass

    async def submit(self, job: Mapping[str, Any]) -> str:
        return self.submit_and_wait(job)

    def submit_and_wait(self, job: Mapping[str, Any]) -> str:
        raise RuntimeError("nobody here takes jobs")


@dataclass(frozen=True, slots=True)
class Context:
    """What a function may know of the attempt that calls it, and what it may tell of it.

    A side effect can happen more than once. `job_id` is the same over all attempts of a job, and
    `attempt` only grows: a receiver that remembers both can drop the copies and refuse the late.
    `job` is the job as it was asked for. The job of a schedule has `schedule_id` and `fire_time`:
    the fire that it stands for, however late it runs.
    """

    job_id: str
    attempt: int
    queue: str
    due_at: datetime
    job: Mapping[str, Any] = field(default_factory=dict)
    channel: Channel = field(default_factory=_Nobody, repr=False, compare=False)
    schedule_id: str | None = None
    fire_time: datetime | None = None

    @property
    def cancelled(self) -> bool:
        """Whether this attempt has been ended (timeout, cancel, lost lease) while this runs on.

        For plain functions in threads, which nobody can stop: look now and then, and return.
        """
        return self.channel.cancelled

    def progress(self, fraction: float, note: str | None = None) -> None:
        """So much is done, from 0 to 1; seen with the job while it runs."""
        if not 0 <= fraction <= 1:
            raise ValueError("progress is a fraction between 0 and 1")
        self.channel.progress(fraction, note)

    def log(self, text: str) -> None:
        """One line for the log of this attempt; the last 16 KiB are kept."""
        self.channel.log(text)

    def submit(self, job: Mapping[str, Any]) -> Coroutine[Any, Any, str]:
        """Submit another job, as over HTTP; to be awaited: its id. It is durable then.

        Raises `pipeline.domain.errors.Rejected` if it is none. An attempt that is tried again
        submits again: with an `idempotency_key` that is the same job.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # nobody here could await it: the job would be lost without a word
            raise RuntimeError("a plain function calls submit_and_wait() instead") from None
        return self.channel.submit(job)

    def submit_and_wait(self, job: Mapping[str, Any]) -> str:
        """As `submit`, for plain functions."""
        return self.channel.submit_and_wait(job)


class BadPayload(Exception):
    """The payload is not what the function takes."""

    def __init__(self, flaws: list[Flaw]) -> None:
        told = (f"{flaw.pointer or 'it'}: {flaw.detail}" for flaw in flaws)
        super().__init__(f"the payload does not fit: {'; '.join(told)}")
        self.flaws = flaws


@dataclass(frozen=True)
class Task:
    """A registered function; `timeout` (seconds) caps the job's own.

    `retry` is for jobs that do not say; `process`: it runs in a process that can be killed.
    """

    name: str
    function: Function
    timeout: float | None
    is_coroutine: bool
    retry: RetryPolicy | None = None
    process: bool = False

    def fit(self, payload: Any) -> Any:
        """The payload as the annotation of the parameter says. Raises `BadPayload`.

        Read as JSON, so that what JSON has no type for (dates, tuples, bytes) is read, not refused.
        """
        if self._payload is None:
            return payload
        try:
            return self._payload.validate_json(to_json(payload))
        except ValidationError as error:
            raise BadPayload(flaws_of(error, payload)) from None

    @cached_property
    def _payload(self) -> TypeAdapter[Any] | None:
        """Read at the first call: an annotation may name a class that stands further down."""
        asked = payload_type(self.function)
        return None if asked in (Any, object) else TypeAdapter(asked)


class Registry:
    """Functions by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}

    def task(
        self,
        name: str,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | Mapping[str, Any] | None = None,
        process: bool = False,
    ) -> Callable[[F], F]:
        """Register the decorated `(payload, context)` function, coroutine or plain, under `name`.

        What it returns must be JSON. A plain one runs in a thread, which nobody can stop: after a
        timeout it keeps its slot until it returns. With `process` it runs in a process of its own,
        one job at a time, and is killed instead; for that it has to stand in a module, by name.
        """
        _check_name(name)
        if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            raise ValueError(f"the timeout of task {name!r} is seconds, more than 0: {timeout!r}")
        policy = None if retry is None else _policy(name, retry)

        def register(function: F) -> F:
            if (other := self._tasks.get(name)) is not None:
                raise ValueError(f"there is already a task {name!r}: {place_of(other.function)}")
            if not takes_two(function):
                raise ValueError(f"task {name!r} must take two arguments: (payload, context)")
            if process and not is_importable(function):
                raise ValueError(f"task {name!r} cannot be found by another process: it must stand "
                                 "at the top of a module that is imported")  # fmt: skip
            is_coroutine = inspect.iscoroutinefunction(function)
            task = Task(name, function, timeout, is_coroutine, policy, process)
            self._tasks[name] = _BY_MODULE[module_of(function), name] = task
            return function

        return register

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Those registered so far."""
        return MappingProxyType(self._tasks)

    def get(self, name: str) -> Task | None:
        """The task of this name, if this process has it."""
        return self._tasks.get(name)


_BY_MODULE: dict[tuple[str, str], Task] = {}
"""What was registered anywhere, by the module of its function and its own name."""


def registered(module: str, name: str) -> Task | None:
    """The task of this name whose function stands in that module, which is imported: also if
    another function has its name in the module by now, or what wraps it."""
    return _BY_MODULE.get((module, name))


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError('a task has a name: @task("reports.nightly")')
    if not re.fullmatch(TASK_NAME, name):
        raise ValueError(f"no job could name the task {name!r}: a name is of letters, digits, "
                         "dots, dashes and underscores, 128 at most")  # fmt: skip


def _policy(name: str, asked: RetryPolicy | Mapping[str, Any]) -> RetryPolicy:
    try:
        return RetryPolicy.model_validate(asked)
    except ValidationError as error:
        told = "; ".join(f"{flaw.pointer[1:]} {flaw.detail}" for flaw in flaws_of(error, asked))
        raise ValueError(f"the retry of task {name!r}: {told.strip()}") from None


REGISTRY = Registry()
"""What `from workers import task` fills, and what `dueq worker` runs."""

task = REGISTRY.task


@task("echo")
async def echo(payload: Any, context: Context) -> Any:
    """The built-in: a job that asks for nothing returns its payload."""
    return payload
