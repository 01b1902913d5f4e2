"""Processes that run functions for a worker: each one job at a time, and killed to stop it.

A process that dies takes its own job with it and no other. None outlives the worker
(`workers.guardian`). Idle ones are kept, as many as there are cores, since they take a moment to
start; but not one whose function has left processes behind: those are killed with it, lest they run
on beside the next attempt.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from pydantic_core import from_json, to_json

from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Ending, Failed
from workers.executors import task_endings
from workers.executors.executor import failed, signal_name
from workers.guardian import Guardian
from workers.tasks import Channel, Context, Task

_LONGEST_LINE = 4 * 1024 * 1024
_EXIT_GRACE = 1.0


class Processes:
    """Starts them, keeps them, kills them."""

    def __init__(self) -> None:
        self._guardian = Guardian()
        self._idle: list[_Process] = []
        self._most_idle = os.cpu_count() or 1

    def close(self) -> None:
        """Kill the idle ones; those that run go with their jobs."""
        while self._idle:
            self._idle.pop().kill()
        self._guardian.close()

    async def run(self, task: Task, payload: Any, context: Context) -> Ending:
        """Run the function to its end. Cancelled, it is killed first."""
        asked = _asked(task, payload, context)
        while self._idle:
            process = self._idle.pop()
            ending = await self._run_in(process, asked, context.channel)
            if process.has_begun:  # else it had died before, and nobody had noticed yet
                return ending
        process = _Process(self._guardian)
        await process.start()
        return await self._run_in(process, asked, context.channel)

    async def _run_in(
        self, process: "_Process", asked: Mapping[str, Any], channel: Channel
    ) -> Ending:
        try:
            ending = await _converse(process, asked, channel)
        except BaseException:
            process.kill()
            raise
        if ending is None:
            return _crash_of(await process.end())
        self._keep(process)
        return ending

    def _keep(self, process: "_Process") -> None:
        if len(self._idle) < self._most_idle and not process.leaves_processes:
            self._idle.append(process)
        else:
            process.kill()


async def _converse(
    process: "_Process", asked: Mapping[str, Any], channel: Channel
) -> Ending | None:
    """What the function ends as; None if its process has ended instead."""
    process.has_begun = False
    process.send(asked)
    while line := await process.line():
        match from_json(line):
            case {"begins": _}:
                process.has_begun = True
            case {"progress": [fraction, note]}:
                channel.progress(fraction, note)
            case {"log": text}:
                channel.log(text)
            case {"submit": job}:
                process.send(await _answer(job, channel))
            case {"ending": ending, "leaves_processes": leaves_processes}:
                process.leaves_processes = leaves_processes
                return task_endings.from_json(ending)
    return None


async def _answer(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    try:
        return {"id": await channel.submit(job)}
    except Rejected as error:
        flaws = [{"pointer": flaw.pointer, "detail": flaw.detail} for flaw in error.flaws]
        return {"code": error.code, "flaws": flaws}
    except Exception as error:  # whatever it is, the function asked and is told
        return {"error": f"{type(error).__name__}: {error}"}


def _asked(task: Task, payload: Any, context: Context) -> dict[str, Any]:
    return {
        "task": task.name,
        "module": task.function.__module__,
        "function": task.function.__qualname__,
        "payload": payload,
        "job_id": context.job_id,
        "attempt": context.attempt,
        "queue": context.queue,
        "due_at": context.due_at.isoformat(),
        "job": context.job,
        "schedule_id": context.schedule_id,
        "fire_time": context.fire_time and context.fire_time.isoformat(),
    }


def _crash_of(code: int | None) -> Failed:
    if code is None:
        text = "the process of the task closed its connection to the worker, and was killed"
        return failed("crashed", text, report={"exit_code": None, "signal": None})
    if code >= 0:
        text = f"the process of the task has ended with exit code {code}"
        return failed("crashed", text, report={"exit_code": code, "signal": None})
    name = signal_name(-code)
    text = f"the process of the task was killed by {name}"
    return failed("crashed", text, report={"exit_code": None, "signal": name})


class _Process(asyncio.SubprocessProtocol):
    """One of them."""

    def __init__(self, guardian: Guardian) -> None:
        self.has_begun = False
        self.leaves_processes = False
        self._guardian = guardian
        self._exited = asyncio.Event()
        self._transport: asyncio.SubprocessTransport | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._group: int | None = None

    async def start(self) -> None:
        """A fresh one, which can import what we can."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                await self._spawn(theirs)
            self._reader, self._writer = await asyncio.open_connection(
                sock=ours, limit=_LONGEST_LINE
            )
        except BaseException:
            ours.close()
            self.kill()
            raise

    async def _spawn(self, theirs: socket.socket) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            sys.executable, "-P", "-m", "workers.executors.task_child", str(theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=None,
            stderr=None,
            env=os.environ | {"PYTHONPATH": paths},
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            preexec_fn=self._guardian.before_exec(kept=(theirs.fileno(),)),
        )  # fmt: skip

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but name.
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._group = self._transport.get_pid()
        self._guardian.started(self._group)

    def process_exited(self) -> None:
        self._exited.set()
        self._kill_group()  # what it has forked may hold its end of the socket

    @property
    def returncode(self) -> int | None:
        assert self._transport is not None
        return self._transport.get_returncode()

    def send(self, message: Mapping[str, Any]) -> None:
        assert self._writer is not None  # it was started
        self._writer.write(to_json(message) + b"\n")

    async def line(self) -> bytes:
        """What it sends next; nothing when it has ended, or sent what no function of ours would."""
        assert self._reader is not None
        with suppress(ConnectionError, ValueError):
            return await self._reader.readline()
        return b""

    def kill(self) -> None:
        """At once, and whatever it has started."""
        self._kill_group()
        if self._writer is not None:
            self._writer.close()
        if self._transport is not None:
            self._transport.close()

    def _kill_group(self) -> None:
        if self._group is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)
            self._guardian.ended(self._group)
            self._group = None

    async def end(self) -> int | None:
        """Its exit code, when it has closed its socket; None: it went on without, and is killed."""
        try:
            await self._exits_within(_EXIT_GRACE)
            code = self.returncode
        finally:
            self.kill()
        await self._exits_within(_EXIT_GRACE)
        return code

    async def _exits_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._exited.wait()
