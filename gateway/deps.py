"""What the gateway stands on, given by the entry point."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Protocol

from fastapi import Depends
from starlette.requests import Request

from pipeline.domain.body import MAX_JOB_BYTES, MAX_REQUEST_BYTES, MAX_REQUEST_JOBS
from pipeline.ports import (
    Chance,
    Clock,
    HttpWorkers,
    Intake,
    JobStore,
    LeaseQueue,
    LiveNotes,
    NothingTold,
    ScheduleStore,
    SickTargets,
)


class ReadyIntake(Intake, Protocol):
    """An intake that knows whether it could publish now."""

    @property
    def connected(self) -> bool:
        """Whether a publish could go out now."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of everything a client may ask for."""

    request_bytes: int = MAX_REQUEST_BYTES
    job_bytes: int = MAX_JOB_BYTES
    worker_call_bytes: int = 2 * 1024 * 1024
    """A heartbeat of 10,000 jobs, a log of 64 Ki characters that are all escaped."""
    batch_jobs: int = MAX_REQUEST_JOBS
    page_jobs: int = 500
    peek_jobs: int = 500
    bulk_jobs: int = 100_000
    bulk_within: timedelta = timedelta(seconds=20)
    """A call on many jobs answers after this, done or not."""
    readable_within: timedelta = timedelta(seconds=2)
    """How long a job accepted a moment ago is waited for."""
    young: timedelta = timedelta(seconds=10)
    """An id younger than this may be on its way through RabbitMQ."""
    wait: timedelta = timedelta(seconds=60)
    """The longest `Prefer: wait`."""


@dataclass(frozen=True, slots=True)
class GatewayDeps:
    """Ports and facts; `bind_is_loopback` turns on the checks of Host and Origin."""

    intake: ReadyIntake
    store: JobStore
    queue: LeaseQueue
    clock: Clock
    chance: Chance
    schedules: ScheduleStore
    targets: SickTargets
    http_workers: HttpWorkers
    bind_is_loopback: bool = True
    limits: Limits = field(default_factory=Limits)
    live: LiveNotes = field(default_factory=NothingTold)
    asyncapi: Mapping[str, Any] = field(default_factory=dict)
    """The description of the AMQP side, served as it is."""
    lease: timedelta = timedelta(seconds=30)
    """How long a worker over HTTP may be silent before its jobs are lost."""


async def deps_of(request: Request) -> GatewayDeps:
    """The ports of the application that serves this request.

    Not a plain function: FastAPI would call it in a thread, for every request.
    """
    deps: GatewayDeps = request.app.state.deps
    return deps


Deps = Annotated[GatewayDeps, Depends(deps_of)]
