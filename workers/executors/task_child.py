"""`python -m workers.executors.task_child <fd>`: runs functions for a worker, one after the other.

Its only tie is a socket: lines of JSON, no pickles. It ends when the socket does; whoever kills it
loses the job that it runs and nothing else. What it prints goes where the worker's prints go.
With an ending it says whether the function has left processes behind: then it is not used again.
"""

import asyncio
import ctypes
import inspect
import os
import socket
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from typing import Any, BinaryIO

from pydantic_core import from_json, to_json

from pipeline.domain.errors import Flaw, Rejected
from workers.asked import body_of
from workers.executors import task_endings
from workers.notes import line_text, note_text
from workers.tasks import Context, Task, registered

_PR_SET_CHILD_SUBREAPER = 36


class _Channel:
    """The worker's end of the socket, as the function of one attempt sees it.

    A thread that the function has left behind is not heard any more: the next attempt runs on the
    same socket, and would have its lines and its jobs.
    """

    def __init__(self, connection: socket.socket, answers: BinaryIO) -> None:
        self.cancelled = False
        """Only of what was left behind: else this process is killed instead."""
        self._connection, self._answers = connection, answers
        self._sending, self._asking = threading.Lock(), threading.Lock()

    def begin(self) -> None:
        """Its first word: if this process ends without, the function has not been called."""
        self._tell("begins", None)

    def end(self, ending: Mapping[str, Any]) -> None:
        """Its last word, when what it has asked is answered."""
        with self._asking, self._sending:
            self.cancelled = True
            self._send({"ending": ending, "leaves_processes": _has_children()})

    def progress(self, fraction: float, note: str | None) -> None:
        self._tell("progress", [float(fraction), None if note is None else note_text(note)])

    def log(self, text: str) -> None:
        self._tell("log", line_text(text))

    async def submit(self, job: Mapping[str, Any]) -> str:
        return await asyncio.to_thread(self.submit_and_wait, job)

    def submit_and_wait(self, job: Mapping[str, Any]) -> str:
        asked = body_of(job)
        with self._asking:
            if not self._tell("submit", asked):
                raise RuntimeError("this attempt has ended: it submits no more jobs")
            answer = from_json(self._answers.readline())
        if "flaws" in answer:
            raise Rejected(answer["code"], *(Flaw(**flaw) for flaw in answer["flaws"]))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return str(answer["id"])

    def _tell(self, what: str, value: object) -> bool:
        """Send a line; False: nobody listens any more."""
        with self._sending:
            if not self.cancelled:
                self._send({what: value})
            return not self.cancelled

    def _send(self, message: Mapping[str, object]) -> None:
        self._connection.sendall(to_json(message) + b"\n")


def main() -> None:
    """Until the worker closes the socket."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # what a function starts must not hold it open
    # What the children of a function leave behind is a child of ours then, and not unknown.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    connection = socket.socket(fileno=descriptor)
    lines = connection.makefile("rb")
    while line := lines.readline():
        channel = _Channel(connection, lines)
        channel.begin()
        channel.end(task_endings.as_json(_run(from_json(line), channel)))


def _run(asked: dict[str, Any], channel: _Channel) -> Any:
    try:
        task = _task(asked)
        context = Context(
            asked["job_id"],
            asked["attempt"],
            asked["queue"],
            datetime.fromisoformat(asked["due_at"]),
            asked["job"],
            channel,
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


_known: dict[tuple[str, str, str], Task] = {}


def _task(asked: dict[str, Any]) -> Task:
    """As its module registers it here, too; or, if another one does, the function by its name."""
    task, module, function = names = asked["task"], asked["module"], asked["function"]
    if names not in _known:
        found: Any = import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
        by_name = Task(task, found, None, inspect.iscoroutinefunction(found))
        _known[names] = registered(module, task) or by_name
    return _known[names]


def _has_children() -> bool:
    """Whether anything that this process has started still runs; what has ended is collected."""
    try:
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
            pass
    except ChildProcessError:  # there are none
        return False
    return True


if __name__ == "__main__":
    main()
