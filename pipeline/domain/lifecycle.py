"""Lifecycle events: what is told to the outside when a job changes its state.

Every write to a job is one change, with the instant at which MongoDB ordered it (`Moment`). A
change says only which fields it set; `History` follows each job from change to change and knows the
rest. It is pure, and its memory may be thrown away at any time: what it does not know it says, and
is told again. A field that nobody can tell any more is null; nothing is guessed.

The id of an event comes from the job, the state and the moment alone: told twice, it is the same.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from pipeline.domain.instants import rfc3339
from pipeline.domain.job import Kind, Reason
from pipeline.domain.states import State

SOURCE = "/dueq"
TYPE_PREFIX = "dueq.job."
CONTENT_TYPE = "application/json"
_REMEMBERED = 10_000
_STATES = frozenset(state.value for state in State)


class Moment(NamedTuple):
    """Where a change stands in MongoDB's order: the second, and the place within it."""

    second: int
    place: int

    def __str__(self) -> str:
        """Of one width, so that text sorts as time does."""
        return f"{self.second:010d}-{self.place:010d}"


@dataclass(frozen=True, slots=True)
class Change:
    """One write to one job. `fields` are what it set, or (`whole`) all there is now."""

    job_id: str
    moment: Moment
    at: datetime
    fields: Mapping[str, Any]
    removed: Sequence[str] = ()
    whole: bool = False


_Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]


class EventError(BaseModel):
    """What the last attempt of a dead job died of; the long story is in its execution."""

    type: str
    message: str


class EventBody(BaseModel):
    """The JSON body: the job as this change left it, never its payload."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(description="The job's id.")
    state: State = Field(description="What it is now; `buried` is deleted.")
    name: str | None = None
    queue: str | None = None
    kind: Kind | None = None
    priority: int | None = None
    tags: tuple[str, ...] = ()
    schedule_id: str | None = None
    attempt: int | None = Field(None, description="The last one begun; 0: none yet.")
    failures: int | None = Field(None, description="Since it was submitted or redriven.")
    losses: int | None = Field(None, description="Attempts whose worker vanished.")
    reason: Reason | None = Field(None, description="Why it is dead.")
    error: EventError | None = Field(None, description="Of a dead job that has run.")
    worker: str | None = Field(None, description="Which ran it last.")
    due_at: _Time | None = None
    created_at: _Time | None = None
    queued_at: _Time | None = None
    started_at: _Time | None = None
    finished_at: _Time | None = None


FIELDS = tuple(name for name in EventBody.model_fields if name not in ("id", "error"))
"""What `Change.fields` may name."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One state change of one job, ready to be told.

    Most are told to nobody: the body is made when somebody asks for it.
    """

    job_id: str
    state: State
    fields: Mapping[str, Any]
    moment: Moment
    at: datetime
    mark: str = ""
    """Stands in the id for a moment that nobody knows any more."""
    error: EventError | None = None

    @property
    def id(self) -> str:
        """Unique for each state change, and the same however often it is told."""
        return f"{self.job_id}/{self.state.value}/{self.mark or self.moment}"

    @property
    def attempt(self) -> int | None:
        """The last one begun, if anybody knows."""
        return self.fields.get("attempt")

    @property
    def routing_key(self) -> str:
        """`job.<state>.<queue>`; without the queue if nobody knows it any more."""
        queue = self.fields.get("queue")
        return f"job.{self.state.value}.{queue}" if queue else f"job.{self.state.value}"

    @property
    def headers(self) -> dict[str, str]:
        """The CloudEvents attributes, in the binary mode of the RabbitMQ binding."""
        headers = {
            "ce-specversion": "1.0",
            "ce-id": self.id,
            "ce-source": SOURCE,
            "ce-type": TYPE_PREFIX + self.state.value,
            "ce-subject": self.job_id,
            "ce-time": rfc3339(self.at),
            "ce-sequence": str(self.moment),
        }
        if self.attempt is not None:
            headers["ce-dueqattempt"] = str(self.attempt)
        return headers

    @property
    def body(self) -> EventBody:
        """The job as this change left it.

        What another version wrote and this one does not understand is null: it must not hold up
        everybody's events.
        """
        told = {**self.fields, "id": self.job_id, "state": self.state, "error": self.error}
        try:
            return EventBody.model_validate(told)
        except ValidationError as error:
            strange = {flaw["loc"][0] for flaw in error.errors()}
            return EventBody.model_validate({k: v for k, v in told.items() if k not in strange})


@dataclass(slots=True)
class History:
    """What each job is, as of the last change that was followed; the least lately seen forgotten.

    Changes have to be followed in order, and all of them: after a gap, `forget` everything.
    """

    remembered: int = _REMEMBERED
    _jobs: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)

    def unknown(self, changes: Iterable[Change]) -> Sequence[str]:
        """The jobs that have to be learned as they were before these changes."""
        missing: dict[str, None] = {}
        told: set[str] = set()
        for change in changes:
            if _is_told(change):
                told.add(change.job_id)
            elif change.job_id not in self._jobs and change.job_id not in told:
                missing[change.job_id] = None
        return list(missing)

    def learn(self, jobs: Mapping[str, Mapping[str, Any]]) -> None:
        """These are those jobs, before the changes that follow."""
        for job_id, fields in jobs.items():
            self._jobs[job_id] = dict(fields)

    def forget(self) -> None:
        """Everything."""
        self._jobs.clear()

    def follow(self, changes: Sequence[Change]) -> Sequence[JobEvent]:
        """The events of these changes, in order; a change that moves no state has none."""
        events = [event for change in changes if (event := self._follow(change))]
        while len(self._jobs) > self.remembered:
            self._jobs.popitem(last=False)
        return events

    def _follow(self, change: Change) -> JobEvent | None:
        job = {} if _is_told(change) else self._jobs.get(change.job_id, {})
        # A tombstone has lost what it was, we have not.
        if change.removed and change.fields.get("state") != State.BURIED:
            job = {name: value for name, value in job.items() if name not in change.removed}
        job = {**job, **change.fields}
        self._jobs[change.job_id] = job
        self._jobs.move_to_end(change.job_id)
        state = change.fields.get("state")
        if state not in _STATES:  # not moved, or by a version that knows more states
            return None
        return JobEvent(change.job_id, State(state), job, change.moment, change.at)


def _is_told(change: Change) -> bool:
    """Whether it says all that there is to know of the job; a tombstone does not."""
    return change.whole and "queue" in change.fields
