"""The client: asks for jobs, over HTTP and AMQP, and writes down what was answered.

It behaves as a careful user would: every job has an idempotency key, and what was not answered 202
(a 503, a broken connection, nothing in time) is sent again under the same key, to the next gateway.
The ledger keeps what was asked before it is sent, so that an answer that gets lost is known too.
"""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import aiohttp
from amqpstorm.uri_connection import UriConnection

from pipeline.domain.identity import id_of_element, id_of_key
from tests.chaos import tasks
from tests.chaos.history import Asked

AGAIN_SECONDS = 0.2
ANSWER_SECONDS = 10.0
ACCEPT_SECONDS = 60.0
"""So long a request may go without a 202 before the test fails."""
CLOCK_ERROR = 0.05
"""`delay` counts from acceptance by MongoDB's clock, which the gateway has measured (R11)."""
BACKOFF = 0.3


@dataclass(frozen=True, slots=True)
class Wish:
    """A job as the tests want it; `later` seconds from now, as `run_at` or as `delay`."""

    queue: str = "default"
    seconds: float = 0.0
    failures: int = 0
    later: float = 0.0
    as_delay: bool = False
    limits: Mapping[str, Any] | None = None

    def body(self, now: float) -> dict[str, Any]:
        """As it is sent."""
        body: dict[str, Any] = {
            "task": tasks.NAME,
            "queue": self.queue,
            "payload": {"seconds": self.seconds, "failures": self.failures},
            "retry": {"backoff": "fixed", "base": BACKOFF, "jitter": "none"},
        }
        if self.limits:
            body["limits"] = self.limits
        if self.later and self.as_delay:
            body["delay"] = self.later
        elif self.later:
            body["run_at"] = _instant(now + self.later)
        return body

    def asked(self, job_id: str, now: float) -> Asked:
        """As it is held against DueQ."""
        due_at = now + self.later - (CLOCK_ERROR if self.as_delay else 0.0)
        return Asked(job_id, _cut(due_at), BACKOFF)


@dataclass
class Ledger:
    """What was asked, and when what was accepted."""

    asked: dict[str, Asked] = field(default_factory=dict)
    accepted: dict[str, float] = field(default_factory=dict)

    def ask(self, asked: Sequence[Asked]) -> None:
        """About to be sent for the first time."""
        self.asked.update((one.job_id, one) for one in asked)

    def accept(self, ids: Sequence[str]) -> None:
        """Answered 202, or confirmed."""
        now = time.time()
        self.accepted.update((job_id, now) for job_id in ids)


class HttpClient:
    """Submits to gateways in turn."""

    def __init__(self, gateways: Sequence[str], ledger: Ledger) -> None:
        self._gateways = _in_turn(gateways)
        self._ledger = ledger

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def submit(self, key: str, wish: Wish) -> None:
        """One job; returns when it is accepted."""
        now = time.time()
        self._ledger.ask([wish.asked(id_of_key(key), now)])
        answer = await self._insist("/api/jobs", key, wish.body(now))
        assert answer["id"] == id_of_key(key)
        self._ledger.accept([answer["id"]])

    async def submit_batch(self, key: str, wishes: Sequence[Wish]) -> None:
        """All in one request; returns when they are accepted."""
        now = time.time()
        asked = [w.asked(id_of_element(key, place), now) for place, w in enumerate(wishes)]
        self._ledger.ask(asked)
        answer = await self._insist("/api/jobs/batch", key, [wish.body(now) for wish in wishes])
        assert answer["ids"] == [one.job_id for one in asked]
        self._ledger.accept(answer["ids"])

    async def _insist(self, path: str, key: str, body: Any) -> Any:
        async with asyncio.timeout(ACCEPT_SECONDS):
            while (answer := await self._try(next(self._gateways) + path, key, body)) is None:
                await asyncio.sleep(AGAIN_SECONDS)
            return answer

    async def _try(self, url: str, key: str, body: Any) -> Any:
        """The answer, or None if nobody can tell what became of it."""
        try:
            headers = {"Idempotency-Key": key}
            async with self._session.post(url, json=body, headers=headers) as reply:
                if reply.status == 503:
                    return None
                assert reply.status == 202, f"{reply.status} {await reply.text()}"
                return await reply.json()
        except (aiohttp.ClientError, TimeoutError):
            return None


class AmqpClient:
    """Publishes to the exchange, with another library than DueQ's; `message_id` is the key."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        self._url = url
        self._ledger = ledger
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._connect)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._connection.close)

    async def submit(self, key: str, wish: Wish) -> None:
        """One job; returns when the broker confirmed it."""
        await self._publish(key, [(id_of_key(key), wish)], is_array=False)

    async def submit_array(self, key: str, wishes: Sequence[Wish]) -> None:
        """An array in one message."""
        named = [(id_of_element(key, place), wish) for place, wish in enumerate(wishes)]
        await self._publish(key, named, is_array=True)

    async def _publish(
        self, key: str, named: Sequence[tuple[str, Wish]], *, is_array: bool
    ) -> None:
        now = time.time()
        self._ledger.ask([wish.asked(job_id, now) for job_id, wish in named])
        bodies = [wish.body(now) for _, wish in named]
        async with self._turn:
            await asyncio.to_thread(self._send, key, json.dumps(bodies if is_array else bodies[0]))
        self._ledger.accept([job_id for job_id, _ in named])

    def _connect(self) -> None:
        self._connection = UriConnection(self._url)
        self._channel = self._connection.channel()
        self._channel.confirm_deliveries()

    def _send(self, key: str, body: str) -> None:
        properties = {"content_type": "application/json", "message_id": key, "delivery_mode": 2}
        confirmed = self._channel.basic.publish(
            body, "job.submit", "dueq.jobs", properties=properties, mandatory=True
        )
        assert confirmed


def _in_turn(urls: Sequence[str]) -> Iterator[str]:
    while True:
        yield from urls


def _cut(at: float) -> float:
    """To whole milliseconds, downwards: as far as an instant on the wire says."""
    return int(at * 1000) / 1000


def _instant(at: float) -> str:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(at * 1000))
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
