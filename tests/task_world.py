"""A function of the test as the task of a job, on the executors of a worker."""

from collections.abc import Awaitable, Callable
from typing import Any

from pipeline.domain.execution import Ending
from tests.builders import a_job
from workers.executors.executors import Executors
from workers.executors.task import TaskExecutor
from workers.tasks import Registry

Run = Callable[..., Awaitable[Ending]]


def runner(registry: Registry) -> Run:
    """Runs one function after the other, `run(function, payload, **fields of the job)`."""
    executors = Executors(TaskExecutor(registry, threads=2))

    async def run(function: Any, payload: Any = None, **body: Any) -> Ending:
        registry.task("it")(function)
        return await executors.run(a_job(body={"task": "it", "payload": payload, **body}))

    return run


async def run(registry: Registry, function: Any, payload: Any = None, **body: Any) -> Ending:
    """Run one, on executors of its own."""
    return await runner(registry)(function, payload, **body)
