"""A job: what is asked for (`JobSpec`), what was accepted (`Submission`), what is stored (`Job`).

They are three types because they know different things: a spec has no identity, a submission has
one and the instant it was accepted, a job also has a state. Parsing happens once, at the edge.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    Strict,
    model_validator,
)

from pipeline.domain.amqp_work import AmqpWork
from pipeline.domain.command_work import Command, CommandWork, work_of
from pipeline.domain.http_work import HttpWork
from pipeline.domain.instants import whole_ms_down, whole_ms_up
from pipeline.domain.limits import KeyLimit
from pipeline.domain.priority import DEFAULT, HIGHEST, LOWEST
from pipeline.domain.retry import RetryPolicy
from pipeline.domain.states import State

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
TASK_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
FIRST_INSTANT = datetime(1970, 1, 1, tzinfo=UTC)
LAST_INSTANT = datetime(2200, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
LONGEST_DELAY = 10 * 366 * 86_400


def _is_rfc3339(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.match(value)):
        return value
    raise ValueError("must be an RFC 3339 time with a zone, such as 2026-12-01T06:00:00Z")


def _in_range(value: datetime) -> datetime:
    # Compared before it is converted: year 1 with +12:00 is no instant that UTC can write.
    if not FIRST_INSTANT <= value < LAST_INSTANT:
        raise ValueError("must lie between the years 1970 and 2200")
    return whole_ms_up(value.astimezone(UTC))


Instant = Annotated[AwareDatetime, BeforeValidator(_is_rfc3339), AfterValidator(_in_range)]
Delay = Annotated[FiniteFloat, Strict(), Field(ge=0, le=LONGEST_DELAY)]
Timeout = Annotated[FiniteFloat, Strict(), Field(gt=0, le=30 * 86_400)]
Priority = Annotated[int, Strict(), Field(ge=LOWEST, le=HIGHEST)]
QueueName = Annotated[str, Field(pattern=NAME)]
MAX_LOST = 3
"""So many losses make a job poison, unless it says otherwise: it takes its workers down."""
MaxLost = Annotated[int, Strict(), Field(ge=1, le=100)]


class Kind(StrEnum):
    """Which executor runs a job."""

    TASK = "task"
    HTTP = "http"
    AMQP = "amqp"
    COMMAND = "command"


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class TaskWork:
    """Call the Python function that is registered under `task` with `payload`."""

    task: str
    payload: Any


Work = HttpWork | AmqpWork | CommandWork | TaskWork


class OnLost(StrEnum):
    """What becomes of a job whose worker vanished while it ran."""

    RETRY = "retry"
    DEAD = "dead"


class JobSpec(_Spec):
    """What somebody asks for: every field is optional, unknown fields are refused."""

    name: Annotated[str, Field(max_length=200)] | None = None
    queue: QueueName = "default"
    priority: Priority = DEFAULT
    run_at: Instant | None = None
    delay: Delay | None = None
    http: HttpWork | None = None
    amqp: AmqpWork | None = None
    command: Command | None = None
    task: Annotated[str, Field(pattern=TASK_NAME)] | None = None
    payload: Any = None
    retry: RetryPolicy = RetryPolicy()
    timeout: Timeout = 300.0
    on_lost: OnLost = OnLost.RETRY
    max_lost: MaxLost = MAX_LOST
    limits: KeyLimit | None = None
    tags: Annotated[tuple[QueueName, ...], Field(max_length=20)] = ()
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    expires_at: Instant | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        asked = self._asked()
        if len(asked) > 1:
            raise ValueError(f"a job has one kind, not {len(asked)}: {', '.join(asked)}")
        if self.run_at is not None and self.delay is not None:
            raise ValueError("run_at and delay exclude each other")
        if "payload" in self.model_fields_set and asked not in ([], [Kind.TASK]):
            raise ValueError(f"payload goes with a task, not with {asked[0]}")
        if self.run_at and self.expires_at and self.expires_at <= self.run_at:
            raise ValueError("expires_at must be later than run_at")
        return self

    def _asked(self) -> list[Kind]:
        if self.http is None and self.amqp is None and self.command is None:  # nearly always
            return [] if self.task is None else [Kind.TASK]
        fields = (
            (Kind.TASK, self.task),
            (Kind.HTTP, self.http),
            (Kind.AMQP, self.amqp),
            (Kind.COMMAND, self.command),
        )
        return [kind for kind, asked_for in fields if asked_for is not None]

    @property
    def kind(self) -> Kind:
        """Which executor runs it; nothing asked for is the built-in task `echo`."""
        asked = self._asked()
        return asked[0] if asked else Kind.TASK

    @property
    def work(self) -> Work:
        """What is to be done, as one closed union."""
        if self.http is not None:
            return self.http
        if self.amqp is not None:
            return self.amqp
        if self.command is not None:
            return work_of(self.command)
        return TaskWork(self.task or "echo", self.payload)

    def due_after(self, accepted_at: datetime) -> datetime:
        """When it is due, had it been accepted at `accepted_at`; whole milliseconds."""
        if self.run_at is not None:
            return self.run_at
        if not self.delay:
            return whole_ms_down(accepted_at)
        return whole_ms_up(accepted_at + timedelta(seconds=self.delay))


@dataclass(frozen=True, slots=True)
class Submission:
    """A spec that has been given an identity: what travels through RabbitMQ.

    `body` is the spec as the user wrote it (already checked), kept so that a job answers with what
    was asked; `keyed` says that the id was derived from an idempotency key. The job of a schedule
    names it and the fire time that it stands for.
    """

    id: str
    accepted_at: datetime
    spec: JobSpec
    body: dict[str, Any]
    keyed: bool = False
    traceparent: str | None = None
    schedule_id: str | None = None
    fire_time: datetime | None = None

    @property
    def due_at(self) -> datetime:
        """When the job is due: `delay` counts from acceptance."""
        return self.spec.due_after(self.accepted_at)

    @property
    def entry(self) -> "Entry":
        """What Redis has to know of it."""
        spec = self.spec
        return Entry(self.id, spec.queue, self.due_at, spec.priority, spec.limits)


Reason = Literal["exhausted", "not_retryable", "poison", "lost", "expired"]


@dataclass(frozen=True, slots=True)
class Job:
    """A stored job. `attempt` only grows and is the fencing token; `reason` says why it is dead.

    A redrive drops `expires_at`, whatever was asked for: the operator wants it run now.
    """

    id: str
    spec: JobSpec
    body: dict[str, Any]
    state: State
    due_at: datetime
    created_at: datetime
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    lease_id: str | None = None
    reason: Reason | None = None
    expires_at: datetime | None = None
    schedule_id: str | None = None
    fire_time: datetime | None = None
    traceparent: str | None = None

    @property
    def queue(self) -> str:
        """The queue it waits in: the only routing there is."""
        return self.spec.queue

    def is_queued_in(self, queue: str) -> bool:
        """Whether it must be in Redis, in this queue."""
        return self.state is State.QUEUED and self.queue == queue

    def is_expired(self, now: datetime) -> bool:
        """Whether it is too late to start it: it is the dispatcher's (R14)."""
        return self.expires_at is not None and self.expires_at <= now

    @property
    def entry(self) -> "Entry":
        """What Redis has to know of it."""
        spec = self.spec
        return Entry(self.id, spec.queue, self.due_at, spec.priority, spec.limits)


@dataclass(frozen=True, slots=True)
class Entry:
    """A job as the lease queue sees it: never its payload."""

    job_id: str
    queue: str
    due_at: datetime
    priority: int = DEFAULT
    limit: KeyLimit | None = None
