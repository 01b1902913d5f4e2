"""What became of a schedule's fire times: the jobs they made and what was skipped, merged.

Newest first by fire time. What is of one instant stays on one page, so a page may be longer than
asked for by that. A fire time that has a job was not skipped, even if a watcher that decided
differently has written down a skip: the job stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from pipeline.domain.identity import id_of_fire
from pipeline.domain.job import Job
from pipeline.ports import ScheduleStore, Skipped

_OF_ONE_INSTANT = 50
"""Only jobs made by hand share an instant, and never so many of them."""


@dataclass(frozen=True, slots=True)
class Fire:
    """One entry: a fire time with its job, or one (or a span of them) without, and why."""

    at: datetime
    what: Job | Skipped


@dataclass(frozen=True, slots=True)
class FirePage:
    """A part of the history; `next_before` continues it."""

    fires: Sequence[Fire]
    next_before: datetime | None


async def read_fires(
    schedule_id: str, limit: int, before: datetime | None, store: ScheduleStore
) -> FirePage:
    """The newest before `before`.

    The skips are read first: a job made in between then hides its skip, never both of them.
    """
    asked = limit + _OF_ONE_INSTANT
    skips = await store.skipped(schedule_id, asked, before)
    runs = await store.runs(schedule_id, asked, before)
    fires = _merged(schedule_id, runs, skips)
    end = min(limit, len(fires))
    while end < len(fires) and fires[end].at == fires[end - 1].at:
        end += 1
    more = end < len(fires) or len(skips) == asked or len(runs) == asked
    return FirePage(fires[:end], fires[end - 1].at if more and end else None)


def _merged(schedule_id: str, runs: Sequence[Job], skips: Sequence[Skipped]) -> list[Fire]:
    made = {job.id for job in runs}
    fires = [Fire(job.fire_time, job) for job in runs if job.fire_time is not None]
    fires += [
        Fire(skip.first, skip)
        for skip in skips
        if skip.first != skip.last or id_of_fire(schedule_id, skip.first) not in made
    ]
    return sorted(fires, key=attrgetter("at"), reverse=True)
