"""The life of a process: settings, logs, a port, servers that may be away, signals, the end.

The port answers before any server does, so that /livez and /readyz tell what is going on. Until
`ready`, a signal ends the process at once; after it, a signal asks the role to finish what it
holds, a second one cancels that, and a third does not even wait for code that will not be
cancelled. Exit code 0 every time: nothing is lost, what was held is taken up by others.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import uvloop

from infra.exits import CommandFailed
from infra.roles.hangup import on_hangup
from infra.roles.memory import keep_what_is_here
from infra.roles.ports import bind, url_of
from infra.settings import load_settings
from pipeline.cancelling import is_being_cancelled
from pipeline.clock import StoreClock, SystemChance
from pipeline.config import Settings
from pipeline.domain.errors import Unavailable
from pipeline.ports import JobStore
from pipeline.telemetry import configure_logs, log

_log = log(__name__)
RETRY_SECONDS = 2.0
MEASURE_SECONDS = 60.0
Check = Callable[[], Awaitable[object]]


class Process:
    """This process, as its role sees it."""

    def __init__(self, role: str, settings: Settings, bound: socket.socket) -> None:
        self.role = role
        self.settings = settings
        self.bound = bound
        self.clock = StoreClock()
        self.chance = SystemChance()
        self.checks: dict[str, Check] = {}
        self.is_ready = False
        self.leave: Callable[[], None] = lambda: None
        """Called in the very end. What closes the loop after it waits for all that is left there,
        and that may be code that will not be cancelled."""
        self._finish: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._refusal: CommandFailed | None = None
        self._is_stopping = False
        self._ends_at_once = False

    async def connect(self, server: str, url: str, step: Check) -> None:
        """Do `step`, again every two seconds for as long as the server does not answer."""
        while True:
            try:
                await step()
                return
            except Unavailable as error:
                why = str(error).removeprefix(f"{error.server} is unavailable: ")
                text = (
                    f"{server} at {address(url)} does not answer: {why}; "
                    f"trying again in {RETRY_SECONDS:g} s"
                )
                _log.warning("server.unavailable", server=server, message=text)
            self._heed()
            await self.clock.sleep(RETRY_SECONDS)

    def ready(self, finish: Callable[[], None]) -> None:
        """All is set up; from now on a signal calls `finish` and waits for the role to return."""
        self._heed()
        keep_what_is_here()
        self.is_ready = True
        self._finish = finish
        _log.info("process.ready", http=url_of(self.bound))

    async def run(self, work: Callable[["Process"], Coroutine[None, None, None]]) -> None:
        """Run the role until it returns or a signal ends it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        on_hangup(lambda: self._end(signal.SIGHUP.name), lambda: self._is_stopping)
        self._task = asyncio.current_task()
        with suppress(asyncio.CancelledError):
            await work(self)
        if self._refusal is not None:
            raise self._refusal
        _log.info("process.stopped")
        self.leave()

    def refuse(self, failure: CommandFailed) -> None:
        """End as after a signal, but with this failure: what was found out must not go on."""
        self._refusal = failure
        self._end("refusal")

    def _signalled(self, number: signal.Signals) -> None:
        self._end(number.name)

    def _end(self, why: str) -> None:
        finish, self._finish = self._finish, None
        self.is_ready, self._is_stopping = False, True
        if finish is not None:
            _log.info("process.stopping", why=why, next="finishing what it holds")
            finish()
        elif self._ends_at_once:
            _log.warning("process.stopping", why=why, next="without another word")
            os._exit(0)
        elif self._task is not None:
            _log.info("process.stopping", why=why, next="at once")
            self._ends_at_once = True
            self._task.cancel()

    def _heed(self) -> None:
        """A cancel that a driver kept for itself still ends us: some do so while they connect."""
        if self._ends_at_once:
            raise asyncio.CancelledError


def run_role(role: str, work: Callable[[Process], Coroutine[None, None, None]]) -> None:
    """The main function of a process."""
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format, role=role, pid=os.getpid())
    bound = bind(role, settings.http_host, settings.http_port)
    with bound:
        _log.info("process.started", http=url_of(bound))
        try:
            # A sixth less CPU over all of our processes than asyncio's own loop (`dueq bench`).
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(Process(role, settings, bound).run(work))
        except BaseExceptionGroup as group:
            raise _reason(group) from None


def _reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a person should read, if it is among these; else all of it."""
    match group.split(CommandFailed)[0]:
        case BaseExceptionGroup(exceptions=(CommandFailed() as failure, *_)):
            return failure
        case BaseExceptionGroup(exceptions=(BaseExceptionGroup() as inner, *_)):
            return _reason(inner)
        case _:
            return group


async def never_unasked(loop: Coroutine[Any, Any, None]) -> None:
    """Run it. A cancel that nobody asked for is a failure: a driver can let one out of a pending
    call, and a `TaskGroup` would take it for the end of its task and go on without it."""
    try:
        await loop
    except asyncio.CancelledError as cancelled:
        if is_being_cancelled():
            raise
        raise RuntimeError("cancelled by nobody") from cancelled


async def keep_time(clock: StoreClock, store: JobStore) -> None:
    """Measure MongoDB's clock every minute, for ever (R11). Away: the old offset goes on."""
    while True:
        await clock.sleep(MEASURE_SECONDS)
        try:
            await clock.measure(store.server_time)
        except Unavailable as error:
            _log.warning("clock.not_measured", error=str(error), next="again in a minute")


def address(url: str) -> str:
    """Hosts and ports of a URL: what may be logged."""
    return urlsplit(url).netloc.rpartition("@")[2]
