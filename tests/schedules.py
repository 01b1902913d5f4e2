"""Schedules to test with, and what became of their fire times."""

from datetime import datetime, timedelta
from typing import Any

from pipeline.domain.firing import Plan, Skip, SkipReason
from pipeline.domain.schedule import Schedule, ScheduleSpec
from pipeline.ports import Advance
from tests.builders import an_id
from tests.fakes.clock import START


def a_schedule(*, at: datetime = START, id: str | None = None, **body: Any) -> Schedule:
    """A schedule created at `at`; every minute unless `body` says else."""
    body = body if {"cron", "every"} & body.keys() else {"every": 60, **body}
    new = Schedule(id or an_id(), ScheduleSpec.model_validate(body), body, at, at, 1, None)
    return Advance(new, Plan((), (), new.next_after(at), None)).after


def an_advance(before: Schedule, *skips: Skip, is_held: bool = False) -> Advance:
    """Its next fire time is decided on."""
    fired = before.next_fire_at
    assert fired is not None
    if is_held:
        return Advance(before, Plan((), skips, fired, before.fired_until, is_held=True))
    return Advance(before, Plan((), skips, before.next_after(fired), fired))


def a_skip(first: datetime, seconds: float = 0, *, reason: str = "misfire") -> Skip:
    """The fire times in so many seconds."""
    return Skip(first, first + timedelta(seconds=seconds), SkipReason(reason))
