"""`dueq worker --processes N`: a parent that runs no jobs, and N children that are whole workers.

Each child has an id, a port and connections of its own. One that dies is started again, at once the
first time and then with growing pauses; how it died is written down for the reaper, which shows it
as evidence with the jobs that it took along. A signal to the parent drains all of them. When the
parent itself is killed the kernel sends the children TERM: they drain and end, too.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from infra.exits import Exit
from infra.local.child import tied_to_parent
from infra.roles.death import TAIL_BYTES, Backoff, cause, death_of, last_lines, report
from infra.roles.hangup import on_hangup
from infra.settings import load_settings
from pipeline.config import Settings
from pipeline.telemetry import configure_logs, log

_LAST_WORDS_SECONDS = 1.0
_FLAG = "--processes"
_log = log(__name__)


def run_siblings(count: int) -> None:
    """Until a signal; ends as a child does that cannot be started as it was asked for."""
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format, role="worker", pid=os.getpid())
    code = asyncio.run(Siblings(single(sys.orig_argv, sys.argv), count, settings).run())
    if code:
        sys.exit(code)


def single(original: Sequence[str], arguments: Sequence[str]) -> tuple[str, ...]:
    """The command line of one such worker: this process's own, without `--processes`."""
    ours = list(arguments[1:])
    head = original[1 : len(original) - len(ours)]
    kept = [
        word
        for word, before in zip(ours, ["", *ours], strict=False)
        if word != _FLAG and before != _FLAG and not word.startswith(f"{_FLAG}=")
    ]
    return (sys.executable, *head, *kept)


class Siblings:
    """The children, each kept alive by a task of its own."""

    def __init__(self, argv: Sequence[str], count: int, settings: Settings) -> None:
        self._argv = argv
        self._count = count
        self._settings = settings
        self._living: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Return when all have ended after a signal; the exit code for the parent."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop)
        on_hangup(self._stop, self._stopping.is_set)
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._keep(number))
        return self._code

    def _stop(self) -> None:
        """Every signal is passed on: the second one means more than the first."""
        self._stopping.set()
        for child in self._living.values():
            _ask_to_stop(child)

    async def _keep(self, number: int) -> None:
        """Start it, and again whenever it has died, until they are stopped."""
        clock, backoff = asyncio.get_running_loop().time, Backoff()
        while not self._stopping.is_set():
            began = clock()
            why = await self._live(number)
            if self._stopping.is_set():
                return
            pause = backoff.pause(clock() - began)
            _log.warning("child.ended", number=number, why=why, next_in_s=pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _live(self, number: int) -> str:
        """One life; how it ended, in words."""
        try:
            child, output = await self._start(number)
        except OSError as error:
            return f"it could not be started: {error}"
        self._living[number] = child
        if self._stopping.is_set():  # while it was being started
            _ask_to_stop(child)
        tail = bytearray()
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(_pass_on(output.reader, tail))
            code = await child.wait()
            del self._living[number]
            # Its last words; but a command that it has left behind may hold the pipe open.
            await asyncio.wait([reader], timeout=_LAST_WORDS_SECONDS)
            reader.cancel()
            output.transport.close()
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # whatever it has left behind
        return await self._mourn(child.pid, code, tail)

    async def _start(self, number: int) -> tuple[asyncio.subprocess.Process, "_Output"]:
        """The child holds the end that we read, too: if we are killed its pipe does not break, or
        the first word of its drain, or of a job, would be an error."""
        ours, theirs = os.pipe()
        with os.fdopen(ours, "rb", buffering=0), os.fdopen(theirs, "wb", buffering=0):
            child = await asyncio.create_subprocess_exec(
                *tied_to_parent(self._argv),
                env=os.environ | self._environment(number),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                pass_fds=(ours,),
                start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
            )
            return child, await _Output.of(os.dup(ours))

    def _environment(self, number: int) -> dict[str, str]:
        """A port that was asked for is the first one's; the usual one is the first that is free."""
        more = {}
        if port := self._settings.http_port:
            more["DUEQ_HTTP_PORT"] = str(port + number)
        if self._settings.log_format == "auto" and sys.stderr.isatty():
            more["DUEQ_LOG_FORMAT"] = "text"
        return more

    async def _mourn(self, pid: int, code: int, tail: bytearray) -> str:
        """Tell the reaper, unless it ended in order: with 0 a job may have taken it down, too."""
        if code != 0 or not self._stopping.is_set():
            death = death_of(pid, code, last_lines(tail))
            was_a_worker = await report(death, self._settings.redis_url)
            if code == Exit.USAGE and not (was_a_worker or self._stopping.is_set()):
                # Said wrong, it is said wrong every time. One that has worked was said right: a job
                # has taken it down with this code, and must not take its siblings along.
                self._code = code
                self._stop()
        return cause(code)


def _ask_to_stop(child: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class _Output:
    """What a child prints, and how to hear no more of it."""

    reader: asyncio.StreamReader
    transport: asyncio.BaseTransport

    @classmethod
    async def of(cls, descriptor: int) -> "_Output":
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        return cls(reader, transport)


async def _pass_on(output: asyncio.StreamReader, tail: bytearray) -> None:
    """What a child prints is what we print; the end of it is kept. Whole lines, if they are not
    longer than a chunk: siblings print at the same time."""
    line = b""
    while chunk := await output.read(65_536):
        tail += chunk
        del tail[:-TAIL_BYTES]
        whole, newline, line = (line + chunk).rpartition(b"\n")
        if len(line) > 65_536:
            whole, line = whole + newline + line, b""
        _print(whole + newline)
    _print(line)


def _print(text: bytes) -> None:
    with suppress(OSError, ValueError):  # nobody reads us: no reason to stop
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()
