"""HTTP jobs: one request, no cookies, no proxy from the environment, no redirect that was not
asked for.

Where it may go is decided on addresses (`http_connections`), what is sent in `http_request`, what
an answer means in `http_answer`, and what it means that there was none in `http_trouble`. All of it
takes the request's timeout, or the job's if that is shorter, and keeps 64 KiB, whatever is sent.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from pipeline.domain.execution import Ending, ErrorInfo, Failed, HeldBack, Succeeded, TimedOut
from pipeline.domain.http_work import HttpWork
from pipeline.domain.job import Job
from pipeline.ports import Clock, Wait
from workers.breaker import Answered, Breaker, Failing, Health
from workers.executors.executor import failed, timed_out
from workers.executors.http_answer import Answer, read_answer
from workers.executors.http_connections import Connections, open_connections
from workers.executors.http_request import REDIRECTS, HttpRequest, Refused, request_of
from workers.executors.http_trouble import trouble_of
from workers.secrets import NoSuchSecret, Revealed, Secrets

_SPARE = timedelta(seconds=5)
"""A probe has its timeout, and this to tell of its end."""
_ORIGIN_CHARS = 300


@dataclass(frozen=True, slots=True)
class _End:
    """How an attempt ended, and what that says of its target, if anything."""

    ending: Ending
    health: Health | None = None


class HttpExecutor:
    """Sends requests; made by `open_http`."""

    def __init__(
        self, connections: Connections, secrets: Secrets, clock: Clock, breaker: Breaker
    ) -> None:
        self._connections = connections
        self._secrets = secrets
        self._clock = clock
        self._breaker = breaker

    async def run(self, job: Job, work: HttpWork) -> Ending:
        """One request, unless its target is sick; a status outside `success` is a failure."""
        reveal = Revealed(self._secrets)
        try:
            request = request_of(job, work, reveal, self._clock.now())
        except Refused as refused:
            return failed(refused.code, str(refused), retryable=False)
        except NoSuchSecret as missing:
            return failed("missing_secret", str(missing))
        seconds = min(work.timeout, job.spec.timeout)
        within = timedelta(seconds=seconds) + _SPARE
        passed = await self._breaker.admit(origin_of(request.url), job.queue, within)
        if isinstance(passed, Wait):
            return _held_back(request, passed)
        end = await _Call(work, reveal, self._connections, self._clock).run(request, seconds)
        await self._breaker.heard(passed, end.health)
        return end.ending


def origin_of(url: URL) -> str:
    """Scheme, host and port, if it is not the usual one."""
    return str(url.origin())


def _held_back(request: HttpRequest, wait: Wait) -> HeldBack:
    message = f"{origin_of(request.url)} is sick ({wait.error}): not sent, waits without an attempt"
    return HeldBack(ErrorInfo("target_sick", message), wait.delay)


class _Call:
    """One attempt: a request, and those that its redirects lead to."""

    def __init__(
        self, work: HttpWork, reveal: Revealed, connections: Connections, clock: Clock
    ) -> None:
        self._work = work
        self._reveal = reveal
        self._connections = connections
        self._clock = clock
        self._hops = 0
        self._origin = ""
        self._status: int | None = None

    async def run(self, request: HttpRequest, seconds: float) -> _End:
        """Never raises but on cancellation."""
        end = await self._end(request, seconds)
        # Whatever has become of where it led: the target has answered, with a redirect.
        return _End(self._led(end.ending), Answered()) if self._hops else end

    async def _end(self, request: HttpRequest, seconds: float) -> _End:
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(request)
        except aiohttp.ConnectionTimeoutError:
            assert self._work.connect_timeout is not None
            ending = timed_out(self._work.connect_timeout, what="no connection")
            return _End(ending, Failing("no connection in time"))
        except TimeoutError:
            return _End(timed_out(seconds, what=self._missing()), Failing("no answer in time"))
        except (aiohttp.InvalidURL, UnicodeError):
            text = self._reveal.without_in(f"no host has such a name: {self._origin}")
            return _End(failed("invalid_url", text, retryable=False))
        except (aiohttp.ClientError, OSError) as error:
            return self._broken(error)
        except ValueError as error:  # the library cannot send it: no trouble of the target
            text = self._reveal.without_in(str(error))
            return _End(failed(type(error).__name__, text))

    async def _follow(self, request: HttpRequest) -> _End:
        while True:
            self._origin, self._status = origin_of(request.url), None
            async with self._connections.send(request, self._work.connect_timeout) as response:
                self._status = response.status
                answer = await read_answer(response, self._reveal, self._clock.now())
                location = response.headers.get("Location")
            if answer.status not in REDIRECTS or location is None or not self._work.redirects:
                return self._answered(answer, answer.ending(self._work))
            if self._hops == self._work.redirects:
                text = f"more redirects than the {self._hops} that the job allows"
                return self._answered(answer, answer.failure(self._work, "redirects", text))
            try:
                request = request.redirected(answer.status, location)
            except Refused as refused:
                return _End(
                    failed(refused.code, str(refused), retryable=False, report=answer.report),
                    Answered(),
                )
            self._hops += 1

    def _answered(self, answer: Answer, ending: Ending) -> _End:
        """What the job calls success is an answer, also if it is a 503."""
        return _End(ending, Answered() if isinstance(ending, Succeeded) else answer.health)

    def _broken(self, error: aiohttp.ClientError | OSError) -> _End:
        """No answer, or only a part of one."""
        trouble = trouble_of(error)
        text = self._reveal.without_in(trouble.message)
        ending = failed(trouble.type, text, retryable=trouble.is_retryable)
        return _End(ending, Failing(trouble.of_target) if trouble.of_target else None)

    def _missing(self) -> str:
        """What had not come when the time was over."""
        begun = self._status is not None
        return f"answered {self._status}, but not to the end" if begun else "no answer"

    def _led(self, ending: Ending) -> Ending:
        """With where redirects led, in a failure: nothing else in the record tells."""
        if not isinstance(ending, Failed | TimedOut):
            return ending
        where = self._reveal.without_in(self._origin)[:_ORIGIN_CHARS]
        text = f"{ending.error.message}; redirected to {where}"
        return replace(ending, error=replace(ending.error, message=text))


@asynccontextmanager
async def open_http(
    allowed: Iterable[str],
    user_agent: str,
    *,
    secrets: Secrets,
    clock: Clock,
    breaker: Breaker,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[HttpExecutor]:
    """An executor with connections of its own (`open_connections`)."""
    async with open_connections(allowed, user_agent, resolver) as connections:
        yield HttpExecutor(connections, secrets, clock, breaker)
