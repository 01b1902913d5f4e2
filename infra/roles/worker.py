"""`dueq worker`: runs jobs (`workers`).

On a signal it leases nothing more, waits for what runs, then gives back what is left: another
worker starts it at once. Killed, its leases run out and the reaper ends what it held.
"""

import os
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path

from infra.exits import CommandFailed, Exit
from infra.roles.clients import beside, declare, new_store, queue_of, store_of
from infra.roles.executing import any_command, executors_of, listed_commands
from infra.roles.probes import serving
from infra.roles.running import Process, keep_time, run_role
from pipeline.ports import JobStore, LeaseQueue
from pipeline.queue.lease_queue import RedisLeaseQueue
from pipeline.stats import dueq_version
from workers.executors.command import CommandExecutor
from workers.heartbeat import in_own_thread
from workers.notes import Notes
from workers.options import WorkerOptions
from workers.worker import Worker


@dataclass(frozen=True)
class Asked:
    """The flags of `dueq worker`."""

    queues: tuple[str, ...]
    concurrency: int
    imports: tuple[str, ...]
    allow_commands: bool
    allow_command: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)


def run(asked: Asked) -> None:
    """Until a signal."""
    for module in asked.imports:
        _import(module)

    async def work(process: Process) -> None:
        process.leave = _end_without_waiting_for_runaways
        await _work(process, asked)

    run_role("worker", work)


def _end_without_waiting_for_runaways() -> None:
    """A function that will not end was recorded; neither its thread nor the loop that it is on
    must keep the process."""
    with suppress(OSError, ValueError):  # nobody reads us: no reason to end in another way
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _give_up() -> None:
    """Its loop is blocked. What prints may be what it waits for: nothing is flushed."""
    os._exit(Exit.FAILED)


async def _work(process: Process, asked: Asked) -> None:
    async with (
        serving(process),
        store_of(process) as store,
        queue_of(process) as queue,
        beside(keep_time(process.clock, store)),
    ):
        await declare(process)
        notes = Notes()
        commands = _commands(process, asked, notes)
        async with executors_of(process, asked.concurrency, commands, notes) as executors:
            options = _options(process, asked)
            ports = partial(_ports_of_heartbeat, process)
            beat = in_own_thread(options, ports, process.clock, process.chance, _give_up)
            worker = Worker(options, store, queue, process.clock, process.chance, executors, beat)
            process.ready(finish=worker.stop)
            await worker.run()


def _options(process: Process, asked: Asked) -> WorkerOptions:
    return WorkerOptions(
        id=process.chance.token(),
        queues=asked.queues,
        concurrency=asked.concurrency,
        lease=process.settings.lease,
        drain=timedelta(seconds=process.settings.drain_seconds),
        weights=asked.weights,
        version=dueq_version(),
    )


def _commands(process: Process, asked: Asked, notes: Notes) -> CommandExecutor | None:
    """A list narrows: with one, `--allow-commands` allows nothing more."""
    if listed := asked.allow_command or process.settings.commands_allow:
        return listed_commands(process, listed, notes)
    return any_command(process, notes) if asked.allow_commands else None


@asynccontextmanager
async def _ports_of_heartbeat(process: Process) -> AsyncIterator[tuple[JobStore, LeaseQueue]]:
    """A store and a queue of its own: connections belong to the loop that made them."""
    store = new_store(process)
    try:
        url = process.settings.redis_url
        async with RedisLeaseQueue(url, process.clock, process.chance) as queue:
            yield store, queue
    finally:
        store.close()


def _import(module: str) -> None:
    """A module with @task functions, also from the current folder; ours come first in the path."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        import_module(module)
    except (Exception, SystemExit) as error:
        text = f"--import {module}: {type(error).__name__}: {error}{_where(error, module)}"
        raise CommandFailed(Exit.USAGE, text) from error


def _where(error: BaseException, module: str) -> str:
    """In which line of a module; if none was executed, where it was looked for."""
    if isinstance(error, SyntaxError):
        return ""  # its text says so
    if isinstance(error, ModuleNotFoundError) and module.endswith(".py"):
        return "; a module is named without its .py"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [each for each in frames if each.name == "<module>"]
    if theirs:
        return f" ({theirs[-1].filename}, line {theirs[-1].lineno})"
    if isinstance(error, ModuleNotFoundError):
        return f"; it is neither in {Path.cwd()} nor installed"
    return ""
