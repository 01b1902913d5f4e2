"""HTTP jobs: one request, no cookies, no proxy from the environment, no redirect that was not
asked for.

Where it may go is decided on addresses (`http_connections`), what is sent in `http_request`, what
an answer means in `http_answer`, and what it means that there was none in `http_trouble`. All of it
takes the request's timeout, or the job's if that is shorter, and keeps 64 KiB, whatever is sent.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from pipeline.domain.execution import Ending, ErrorInfo, Held, Succeeded
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
            return _held(request, passed)
        end = await _Call(work, reveal, self._connections, self._clock).run(request, seconds)
        if end.health is not None:
            await self._breaker.heard(passed, end.health)
        return end.ending


def origin_of(url: URL) -> str:
    """Scheme, host and port, if it is not the usual one."""
    return str(url.origin())


def _held(request: HttpRequest, wait: Wait) -> Held:
    message = f"{origin_of(request.url)} is sick ({wait.error}): not sent, waits without an attempt"
    return Held(ErrorInfo("target_sick", message), wait.delay)


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

    async def run(self, request: HttpRequest, seconds: float) -> _End:
        """Never raises but on cancellation."""
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(request)
        except aiohttp.ConnectionTimeoutError:
            assert self._work.connect_timeout is not None
            return self._failing(timed_out(self._work.connect_timeout), "no connection in time")
        except TimeoutError:
            return self._failing(timed_out(seconds), "no answer in time")
        except (aiohttp.InvalidURL, UnicodeError) as error:  # a host that is no name
            return _End(failed("invalid_url", self._clean(error), retryable=False))
        except (aiohttp.ClientError, OSError) as error:
            return self._broken(error)
        except ValueError as error:  # the library cannot send it: no trouble of the target
            return _End(failed(type(error).__name__, self._clean(error)))

    async def _follow(self, request: HttpRequest) -> _End:
        while True:
            async with self._connections.send(request, self._work.connect_timeout) as response:
                answer = await read_answer(response, self._reveal, self._clock.now())
                location = response.headers.get("Location")
            if answer.status not in REDIRECTS or location is None or not self._work.redirects:
                return self._answered(answer, answer.ending(self._work))
            if self._hops == self._work.redirects:
                text = f"redirected more than {self._hops} times"
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
        is_well = self._hops or isinstance(ending, Succeeded)
        return _End(ending, Answered() if is_well else answer.health)

    def _broken(self, error: aiohttp.ClientError | OSError) -> _End:
        """No answer, or only a part of one."""
        trouble = trouble_of(error)
        text = self._reveal.without_in(trouble.message)
        ending = failed(trouble.type, text, retryable=trouble.is_retryable)
        return self._failing(ending, trouble.of_target) if trouble.of_target else _End(ending)

    def _failing(self, ending: Ending, error: str) -> _End:
        """The trouble of where a redirect led is not that of the target, which has answered."""
        return _End(ending, Answered() if self._hops else Failing(error))

    def _clean(self, error: Exception) -> str:
        return self._reveal.without_in(str(error))


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
