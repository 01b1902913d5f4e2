"""Redis: workers that speak HTTP, and what the gateway promised them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pipeline.ports.job_store import Attempt
from pipeline.ports.views import WorkerView


@dataclass(frozen=True, slots=True)
class Promise:
    """The job that a worker's request for work is given, written down before the job is started.

    So the same request again, also to another gateway, finds the same job.
    """

    worker: str
    request: str
    queue: str
    job_id: str
    lease_id: str
    judged_at: datetime


class HttpWorkers(Protocol):
    """Redis: what gateways know of workers that speak HTTP. Lost, they register again."""

    async def register(self, view: WorkerView, ttl: timedelta) -> bool:
        """As `announce_worker`; False if a worker of another sort has this id."""
        ...

    async def retire(self, worker: str) -> bool:
        """As `retract_worker`; False if no worker over HTTP has this id."""
        ...

    async def heard(self, worker: str, ttl: timedelta) -> WorkerView | None:
        """It is alive, and for `ttl` from now; what it had said. None: nobody registered that."""
        ...

    async def promise(self, promise: Promise, most: int, ttl: timedelta) -> Promise | None:
        """Promise unless something is promised to this request already; what stands.

        None: the worker runs `most` jobs already, or is not registered (any more). What is promised
        counts as running for `ttl`.
        """
        ...

    async def runs(
        self, worker: str, leases: Sequence[str], over: Sequence[str], ttl: timedelta
    ) -> int:
        """For `ttl` from now it runs what has these lease ids, and what is `over` not (any more);
        how many it runs."""
        ...

    async def promised(self, worker: str, request: str) -> Promise | None:
        """What is promised to this request."""
        ...

    async def forget(self, promise: Promise) -> None:
        """Take it back, if it is this one that stands."""
        ...

    async def write_log(self, attempt: Attempt, text: str, ttl: timedelta) -> None:
        """Add to what this attempt has written; of more than 64 KiB the end is kept."""
        ...

    async def log(self, attempt: Attempt) -> str:
        """What it has written."""
        ...
