"""`python -m workers.executors.task_child <fd>`: runs functions for a worker, one after the other.

Its only tie is a socket: lines of JSON, no pickles. It ends when the socket does; whoever kills it
loses the job that it runs and nothing else. What it prints goes where the worker's prints go.
"""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from typing import Any

from pydantic_core import from_json, to_json

from pipeline.domain.errors import Flaw, Rejected
from workers.asked import body_of
from workers.executors import task_endings
from workers.notes import line_text, note_text
from workers.tasks import Context, Task


class Worker:
    """The worker's end of the socket, as a running function sees it."""

    cancelled = False
    """Always: this process is killed instead."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._sending, self._asking = threading.Lock(), threading.Lock()

    def jobs(self) -> Any:
        """What is to be run, one at a time, until the worker closes."""
        while line := self._lines.readline():
            yield from_json(line)

    def tell(self, what: str, value: object) -> None:
        """Send a line."""
        data = to_json({what: value}) + b"\n"
        with self._sending:
            self._connection.sendall(data)

    def progress(self, fraction: float, note: str | None) -> None:
        self.tell("progress", [float(fraction), None if note is None else note_text(note)])

    def log(self, text: str) -> None:
        self.tell("log", line_text(text))

    async def submit(self, job: Mapping[str, Any]) -> str:
        return await asyncio.to_thread(self.submit_and_wait, job)

    def submit_and_wait(self, job: Mapping[str, Any]) -> str:
        asked = body_of(job)
        with self._asking:
            self.tell("submit", asked)
            answer = from_json(self._lines.readline())
        if "flaws" in answer:
            raise Rejected(answer["code"], *(Flaw(**flaw) for flaw in answer["flaws"]))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return str(answer["id"])


def main() -> None:
    """Until the worker closes the socket."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # what a function starts must not hold it open
    worker = Worker(socket.socket(fileno=descriptor))
    for asked in worker.jobs():
        worker.tell("ending", task_endings.as_json(_run(asked, worker)))


def _run(asked: dict[str, Any], worker: Worker) -> Any:
    try:
        task = _task(asked)
        context = Context(
            asked["job_id"],
            asked["attempt"],
            asked["queue"],
            datetime.fromisoformat(asked["due_at"]),
            asked["job"],
            worker,
            asked["schedule_id"],
            datetime.fromisoformat(asked["fire_time"]) if asked["fire_time"] else None,
        )
        return task_endings.success_of(_call(task, task.fit(asked["payload"]), context))
    except BaseException as error:  # users' code: SystemExit is a failure of this attempt
        return task_endings.failure_of(error)


def _call(task: Task, payload: Any, context: Context) -> Any:
    result = task.function(payload, context)
    return asyncio.run(_awaited(result)) if task.is_coroutine else result


async def _awaited(result: Any) -> Any:
    return await result


_known: dict[tuple[str, str], Task] = {}


def _task(asked: dict[str, Any]) -> Task:
    """The function where it stands: its module registers it here as it does in the worker."""
    name = (asked["module"], asked["function"])
    if name not in _known:
        found: Any = import_module(name[0])
        for part in name[1].split("."):
            found = getattr(found, part)
        _known[name] = Task(asked["task"], found, None, asyncio.iscoroutinefunction(found))
    return _known[name]


if __name__ == "__main__":
    main()
