"""What an answer says: how the attempt ended, how the target is, and what is kept of it.

Kept are status, headers and the first 64 KiB of the body, without what is nobody else's business:
sensitive headers, and the secrets of the request should the receiver repeat them.
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp

from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.http_work import HttpWork
from pipeline.domain.secret import HIDDEN, is_sensitive
from pipeline.domain.text import storable
from workers.breaker import Answered, Failing, Health
from workers.executors.executor import OUTPUT_BYTES, failed
from workers.secrets import Revealed

_LONGEST_RETRY_AFTER = timedelta(days=1)
_TOO_MANY = 429
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What a terminal would obey: the reason is read on one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read, as far as it is kept."""

    status: int
    reason: str
    headers: dict[str, str]
    body: str | dict[str, str]
    is_truncated: bool
    retry_after: timedelta | None

    @property
    def report(self) -> dict[str, object]:
        """What stands in the execution."""
        return {
            "status": self.status,
            "headers": self.headers,
            "body": self.body,
            "truncated": self.is_truncated,
        }

    @property
    def health(self) -> Health:
        """A 5xx, or "too many" with an instant, is the target's trouble; all else is an answer."""
        is_put_off = self.status == _TOO_MANY and self.retry_after is not None
        if self.status >= 500 or is_put_off:
            return Failing(f"answered {self.status}", self.retry_after or timedelta(0))
        return Answered()

    def ending(self, work: HttpWork) -> Ending:
        """How the attempt ended by this answer."""
        if work.is_success(self.status):
            return Succeeded({"status": self.status}, self.report)
        return self.failure(work, "http_status", f"answered {self.status} {self.reason}".rstrip())

    def failure(self, work: HttpWork, type: str, message: str) -> Ending:
        """It is no success, for this reason."""
        return failed(
            type,
            message,
            retryable=work.is_retryable(self.status),
            retry_after=self.retry_after,
            report=self.report,
        )


async def read_answer(response: aiohttp.ClientResponse, reveal: Revealed, now: datetime) -> Answer:
    """Reads as much of it as is kept; whoever goes on sending is hung up on."""
    body, is_truncated = await _read(response)
    if is_truncated:
        response.close()  # the rest is not wanted: do not read it for the pool's sake
        body = reveal.without_start(body)
    body = reveal.without(body)
    return Answer(
        status=response.status,
        reason=_CONTROL.sub("", reveal.without_in(storable(response.reason or ""))),
        headers=_headers_in(response, reveal),
        body=_shown(body[:OUTPUT_BYTES], is_truncated=is_truncated),
        is_truncated=is_truncated,
        retry_after=_retry_after(response, now),
    )


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """The start of the body, and whether there was more.

    By the chunk: the library's `read` that a chunk's end wakes up does not see that the body has
    broken off since, and waits for ever.
    """
    body, content = bytearray(), response.content
    while not content.at_eof() and len(body) <= OUTPUT_BYTES:
        chunk, _ = await content.readchunk()
        body += chunk
    return bytes(body[:OUTPUT_BYTES]), len(body) > OUTPUT_BYTES


def _shown(start: bytes, *, is_truncated: bool) -> str | dict[str, str]:
    """As text if it is UTF-8, else in base64."""
    try:
        return start.decode()
    except UnicodeDecodeError as error:
        if is_truncated and error.start > len(start) - 4:
            return start[: error.start].decode()  # the cut went through a character
        return {"base64": b64encode(start).decode()}


def _headers_in(response: aiohttp.ClientResponse, reveal: Revealed) -> dict[str, str]:
    """Repeated ones joined as RFC 9110 allows; capped like the body."""
    headers: dict[str, str] = {}
    room = OUTPUT_BYTES
    for name, text in response.headers.items():
        room -= len(name) + len(text)
        if room < 0:
            break
        key = reveal.without_in(storable(name))
        clean = HIDDEN if is_sensitive(name) else reveal.without_in(storable(text))
        headers[key] = f"{headers[key]}, {clean}" if key in headers else clean
    return headers


def _retry_after(response: aiohttp.ClientResponse, now: datetime) -> timedelta | None:
    """`Retry-After`, in seconds or as a date (RFC 9110 10.2.3); at most a day.

    None also for 0 and for what is over: "at once" leaves it to the retry policy, or a server that
    says so would have all attempts within a moment.
    """
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+", text):
        delay = _seconds(text.lstrip("0"))
    else:
        delay = _until(_date(text), response, now)
    return min(delay, _LONGEST_RETRY_AFTER) if delay > timedelta(0) else None


def _seconds(digits: str) -> timedelta:
    """However many there are: Python refuses to count some thousands of them."""
    return timedelta(seconds=int(digits or "0")) if len(digits) < 10 else _LONGEST_RETRY_AFTER


def _until(at: datetime | None, response: aiohttp.ClientResponse, now: datetime) -> timedelta:
    """By the `Date` of the same answer: the server means its own clock, which need not be ours."""
    their_now = _date(response.headers.get("Date", "")) or now
    return timedelta(0) if at is None else at - their_now


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
