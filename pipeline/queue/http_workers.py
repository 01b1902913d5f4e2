"""What gateways know of workers that speak HTTP, on Redis: so no gateway has to remember anything.

All of it may be lost at any moment: the workers register again, a request for work that is repeated
may get another job (the first one's lease runs out), and lines that were written are gone.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Self

from pydantic_core import from_json, to_json

from pipeline.ports import Attempt, Promise, WorkerView
from pipeline.queue import scripts
from pipeline.queue.batches import MS
from pipeline.queue.connect import Lines, Word
from pipeline.queue.keys import PLACES, PROMISE, WORKER, WRITTEN
from pipeline.queue.worker_registry import WorkerRegistry

LOG_BYTES = 64 * 1024

_PATIENCE = 2.0


class RedisHttpWorkers:
    """`pipeline.ports.HttpWorkers` on Redis. Belongs to the event loop it is used on."""

    def __init__(self, url: str) -> None:
        self._lines = Lines(url, patience=_PATIENCE, most=8)
        self._registry = WorkerRegistry(self._lines)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lines.aclose()

    async def register(self, view: WorkerView, ttl: timedelta) -> bool:
        """Write it down, unless a worker of another sort has this id."""
        found = await self._registry.find(view.id)
        if found is not None and not found.is_over_http:
            return False
        await self._registry.announce(view, ttl)
        return True

    async def retire(self, worker: str) -> bool:
        """Forget it at once; False if nobody has registered that, or he has gone."""
        found = await self._registry.find(worker)
        if found is None or not found.is_over_http:
            return False
        await self._registry.retract(worker)
        return True

    async def heard(self, worker: str, ttl: timedelta) -> WorkerView | None:
        """It is alive, for `ttl` from now; None if nobody registered that."""
        found = await self._registry.find(worker)
        if found is None or not found.is_over_http:
            return None
        return await self._registry.heard(worker, ttl)

    async def promise(self, promise: Promise, most: int, ttl: timedelta) -> Promise | None:
        """What stands; said twice, it is the same."""
        keys = [_key_of(promise.worker, promise.request), *_places_of(promise.worker)]
        words: list[Word] = ["", ttl // MS, _text_of(promise), promise.lease_id, most]
        stands = await self._lines.run(scripts.PROMISE, keys, words)
        return _promise_of(stands) if stands else None

    async def runs(
        self, worker: str, leases: Sequence[str], over: Sequence[str], ttl: timedelta
    ) -> int:
        """How many it runs, when these have been counted."""
        words: list[Word] = ["", ttl // MS, len(leases), *leases, *over]
        running: int = await self._lines.run(scripts.PLACES, _places_of(worker), words)
        return running

    async def promised(self, worker: str, request: str) -> Promise | None:
        """What is promised to this request."""
        text = await self._lines.ask("GET", _key_of(worker, request))
        return None if text is None else _promise_of(text)

    async def forget(self, promise: Promise) -> None:
        """Take it back, if it is this one that stands."""
        key = _key_of(promise.worker, promise.request)
        await self._lines.run(scripts.TAKE_BACK, [key], [_text_of(promise)])

    async def write_log(self, attempt: Attempt, text: str, ttl: timedelta) -> None:
        """Add to what it has written. After a lost reply a line may be there twice."""
        words: list[Word] = [text, LOG_BYTES, ttl // MS]
        await self._lines.run(scripts.WRITE_LOG, [_log_of(attempt)], words)

    async def log(self, attempt: Attempt) -> str:
        """What it has written."""
        return await self._lines.ask("GET", _log_of(attempt)) or ""


def _key_of(worker: str, request: str) -> str:
    return f"{PROMISE.of(worker)}{request}"


def _places_of(worker: str) -> tuple[str, str]:
    return PLACES.of(worker), WORKER.of(worker)


def _log_of(attempt: Attempt) -> str:
    return f"{WRITTEN.of(attempt.job_id)}{attempt.attempt}"


def _text_of(promise: Promise) -> str:
    return to_json(asdict(promise)).decode()


def _promise_of(text: str) -> Promise:
    fields = from_json(text)
    return Promise(**fields | {"judged_at": datetime.fromisoformat(fields["judged_at"])})
