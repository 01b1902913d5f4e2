"""A schedule: what is asked for (`ScheduleSpec`), what is stored (`Schedule`), what fires when.

A fire time is the instant that the rule names. It is the identity of the job that it makes
(`identity.id_of_fire`), whatever the jitter adds to the job's due time, so that any number of
watchers make one job of it. Pure: no clock, no I/O.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    Strict,
    model_validator,
)

from pipeline.domain import spans
from pipeline.domain.cron import Cron, Gap, Repeat, read_cron
from pipeline.domain.identity import id_of_fire
from pipeline.domain.instants import rfc3339, whole_ms_down, whole_ms_up
from pipeline.domain.job import Instant, JobSpec, Submission

LEAD = timedelta(seconds=4)
"""So long before its fire time a job is stored: more than a dispatcher's usual look-ahead."""
_TEN_YEARS = 10 * 366 * 86_400


class Misfire(StrEnum):
    """What becomes of fire times that nobody watched."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a fire while a job of an earlier fire time is not final."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        meant = _zones_by_lower_case().get(name.lower())
        hint = f": did you mean {meant}?" if meant else ""
        raise ValueError(f"{name[:60]!r} is not an IANA time zone{hint}") from None
    return name


@lru_cache(maxsize=1)
def _zones_by_lower_case() -> Mapping[str, str]:
    return {name.lower(): name for name in available_timezones()}


@lru_cache(maxsize=4096)  # thousands of schedules say the same: read once, told apart by nothing
def _is_cron(text: str) -> str:
    read_cron(text, ZoneInfo("UTC"), seed="")
    return text


JOB_TIMES = ("run_at", "delay", "expires_at", "idempotency_key")
"""What only the schedule says of its jobs."""


def _has_no_times(job: JobSpec) -> JobSpec:
    for field in JOB_TIMES:
        if getattr(job, field) is not None:
            raise ValueError(f"the schedule says when: {field} does not belong here")
    return job


Seconds = Annotated[FiniteFloat, Strict(), Field(ge=0, le=_TEN_YEARS)]


class ScheduleSpec(BaseModel):
    """What somebody asks for; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(max_length=200)] | None = None
    cron: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_is_cron)] | None = (
        None
    )
    every: Annotated[FiniteFloat, Strict(), Field(ge=1, le=_TEN_YEARS)] | None = None
    timezone: Annotated[str, Field(max_length=64), AfterValidator(_is_zone)] = "UTC"
    job: Annotated[JobSpec, AfterValidator(_has_no_times)] = JobSpec()
    misfire: Misfire = Misfire.LATEST
    misfire_grace: Seconds = 3600.0
    overlap: Overlap = Overlap.ALLOW
    jitter: Seconds = 0.0
    start_at: Instant | None = None
    end_at: Instant | None = None
    paused: Annotated[bool, Strict()] = False
    gap: Gap | None = None
    repeat: Repeat | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise ValueError("a schedule has one of cron and every")
        if self.every is not None and (self.gap or self.repeat):
            raise ValueError("gap and repeat go with cron: every follows real time")
        if self.start_at and self.end_at and self.end_at <= self.start_at:
            raise ValueError("end_at must be later than start_at")
        return self

    def rule(self, schedule_id: str, created_at: datetime) -> "Rule":
        """The rule that says when it fires."""
        if self.cron is not None:
            zone = ZoneInfo(self.timezone)
            return read_cron(self.cron, zone, seed=schedule_id, gap=self.gap, repeat=self.repeat)
        assert self.every is not None
        # Whole milliseconds, or a fire time that comes back from the store would be another one.
        period = timedelta(milliseconds=round(self.every * 1000))
        return Every(period, self.start_at or whole_ms_down(created_at))


@dataclass(frozen=True, slots=True)
class Every:
    """Each `period` of real time since `anchor`, which is the first."""

    period: timedelta
    anchor: datetime

    def next_after(self, instant: datetime) -> datetime | None:
        """The first fire time later than `instant`."""
        if instant < self.anchor:
            return self.anchor
        return self.anchor + ((instant - self.anchor) // self.period + 1) * self.period

    def in_words(self) -> str:
        """As a sentence."""
        return f"Every {spans.each(self.period.total_seconds())}"


Rule = Cron | Every


@dataclass(frozen=True, slots=True)
class Schedule:
    """A stored schedule. `next_fire_at`: the next fire time nobody has decided on; None: no more.

    `version` counts what its owners changed, not its fires; `body` is what the user asked for, word
    for word. `fired_until` is the last fire time that was decided on: nothing up to it is decided
    again, whatever the rule is changed to (R13). `is_held` says that fires wait for a run to end
    (`overlap: queue`): they were watched and are no misfires.
    """

    id: str
    spec: ScheduleSpec
    body: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    version: int
    next_fire_at: datetime | None
    fired_until: datetime | None = None
    is_held: bool = False

    @property
    def rule(self) -> Rule:
        """The rule that says when it fires."""
        return self.spec.rule(self.id, self.created_at)

    @property
    def look_at(self) -> datetime | None:
        """When a watcher has to look at it next; None: never, as it stands.

        Where runs may overlap, the job of a fire is stored a little ahead and is as punctual as any
        other. Where they may not, nothing can be decided before the fire time itself.
        """
        if self.next_fire_at is None or self.spec.paused:
            return None
        return self.next_fire_at - (LEAD if self.spec.overlap is Overlap.ALLOW else timedelta(0))

    def in_words(self) -> str:
        """The rule as a sentence, and the jitter."""
        jitter = self.spec.jitter
        spread = f", each up to {spans.in_words(jitter)} later" if jitter else ""
        return self.rule.in_words() + spread

    def next_after(self, instant: datetime) -> datetime | None:
        """The first fire time later than `instant` and than all that were decided on."""
        decided = self.fired_until
        return first_fire_after(
            self.spec, self.rule, instant if decided is None else max(instant, decided)
        )

    def due_at(self, fire_time: datetime) -> datetime:
        """When the job of this fire is due: the jitter of a fire is always the same."""
        if not self.spec.jitter:
            return fire_time
        seed = hashlib.sha256(f"{self.id}/{fire_time.isoformat()}".encode()).digest()
        lot = int.from_bytes(seed[:8]) / 2**64
        return whole_ms_up(fire_time + timedelta(seconds=self.spec.jitter * lot))

    def submission(
        self, fire_time: datetime, due_at: datetime, priority: int, now: datetime
    ) -> Submission:
        """The job of a fire: its id is the fire's, so that it is made once (R13)."""
        own: dict[str, Any] = {"run_at": rfc3339(due_at)}
        if priority != self.spec.job.priority:
            own["priority"] = priority
        return Submission(
            id=id_of_fire(self.id, fire_time),
            accepted_at=now,
            spec=self.spec.job.model_copy(update={"run_at": due_at, "priority": priority}),
            body={**self.body.get("job", {}), **own},
            schedule_id=self.id,
            fire_time=fire_time,
        )


def first_fire_after(spec: ScheduleSpec, rule: Rule, instant: datetime) -> datetime | None:
    """The first fire time of `rule` later than `instant`, within `start_at` and `end_at`."""
    if spec.start_at is not None and instant < spec.start_at:
        instant = spec.start_at - timedelta(milliseconds=1)
    found = rule.next_after(instant)
    if found is None or (spec.end_at is not None and found > spec.end_at):
        return None
    return found


def fires_after(spec: ScheduleSpec, rule: Rule, instant: datetime) -> Iterator[datetime]:
    """All fire times later than `instant`, in order."""
    found = first_fire_after(spec, rule, instant)
    while found is not None:
        yield found
        found = first_fire_after(spec, rule, found)
