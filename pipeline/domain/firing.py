"""What becomes of the fire times that have come: which get a job, which are skipped, and why.

Pure: any number of watchers that look at one moment decide alike. Where two look at different
moments and differ, the fire's job is the same one, and a fire time that has a job was not skipped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pipeline.domain.schedule import LEAD, Misfire, Overlap, Schedule, fires_after

ON_TIME = timedelta(seconds=5)
"""A fire looked at within this is on time. Later it was missed, unless whoever looks was watching
when it came and is only slow: ten thousand may fire in one second."""
MAX_CATCH_UP = 100
"""So many fires of one schedule are made up for, or wait for a run to end; no more."""
_DETAILED = 20
"""So many of the newest are told apart beyond those that are made up for; a schedule fires nine
times at most from `ON_TIME` ago to `LEAD` ahead."""
_FIRST_WINDOW = timedelta(minutes=2)
_MS = timedelta(milliseconds=1)


class SkipReason(StrEnum):
    """Why a fire time has no job."""

    MISFIRE = "misfire"
    """Nobody watched, and the schedule asks for none or only the latest of those."""
    TOO_LATE = "too_late"
    """Nobody watched, and `misfire_grace` was over."""
    TOO_MANY = "too_many"
    """More than a hundred were missed, or waited for a run to end; these are the oldest."""
    OVERLAP = "overlap"
    """A job of an earlier fire time had not ended, or a later one took its place."""
    REFUSED = "refused"
    """MongoDB will never take its job."""


@dataclass(frozen=True, slots=True)
class Run:
    """A fire time that gets a job; `is_catch_up` if it was missed and is made up for."""

    fire_time: datetime
    is_catch_up: bool


@dataclass(frozen=True, slots=True)
class Skip:
    """The fire times from `first` to `last` that get no job; mostly one and the same."""

    first: datetime
    last: datetime
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about a schedule now, and how it stands afterwards."""

    runs: Sequence[Run]
    skips: Sequence[Skip]
    next_fire_at: datetime | None
    fired_until: datetime | None
    is_held: bool = False


def decide(
    schedule: Schedule, now: datetime, *, busy: bool, watched_since: datetime | None = None
) -> Plan:
    """What becomes of all that has come by `now`.

    `busy`: a job of an earlier fire time than the one that would run has not ended.
    `watched_since`: whoever asks has been looking without a break since then; None: not at all.
    """
    overlap = schedule.spec.overlap
    come = _come(schedule, now + LEAD if overlap is Overlap.ALLOW else now)
    if not come.times:
        return Plan((), (), schedule.next_fire_at, schedule.fired_until, schedule.is_held)
    on_time_from = min(now - ON_TIME, watched_since or now)
    judged = _judge_held(come) if schedule.is_held else _judge(come, schedule, now, on_time_from)
    plan = Plan(judged.runs, judged.skips, come.following, come.times[-1])
    return _apart(plan, schedule, overlap, busy=busy)


@dataclass(frozen=True, slots=True)
class _Come:
    """The newest fire times that have come, oldest first; `older` stands for all before them,
    `following` is the first that has not come."""

    times: Sequence[datetime]
    older: tuple[datetime, datetime] | None
    following: datetime | None


@dataclass(frozen=True, slots=True)
class _Judged:
    runs: Sequence[Run]
    skips: Sequence[Skip]


def _come(schedule: Schedule, until: datetime) -> _Come:
    """Looks back in growing windows: after a year's outage nobody walks through all of it."""
    first = schedule.next_fire_at
    if first is None or first > until:
        return _Come((), None, first)
    rule, most, window = schedule.rule, _most(schedule), _FIRST_WINDOW
    while True:
        start = max(first - _MS, until - window)
        times, following = _split(fires_after(schedule.spec, rule, start), until)
        if start < first:
            times = times or [first]
        if start < first or len(times) > most:
            newest = times[-most:]
            older = (first, newest[0] - _MS) if newest[0] > first else None
            return _Come(newest, older, following)
        window *= 4


def _most(schedule: Schedule) -> int:
    makes_up = schedule.is_held or schedule.spec.misfire is Misfire.ALL
    return _DETAILED + (MAX_CATCH_UP if makes_up else 0)


def _split(
    fires: Iterator[datetime], until: datetime
) -> tuple[Sequence[datetime], datetime | None]:
    """Those up to `until`, and the first after it."""
    times: list[datetime] = []
    for fire in fires:
        if fire > until:
            return times, fire
        times.append(fire)
    return times, None


# -- misfires


def _judge(come: _Come, schedule: Schedule, now: datetime, on_time_from: datetime) -> _Judged:
    """Those on time run; of those that were missed, what the policy says."""
    late = [fire for fire in come.times if fire < on_time_from]
    timely = [Run(fire, is_catch_up=False) for fire in come.times[len(late) :]]
    kept = _made_up_for(late, schedule, now, has_timely=any(run.fire_time <= now for run in timely))
    dropped = late[: len(late) - len(kept)]
    skips = [Skip(fire, fire, _why(fire, schedule, now)) for fire in dropped]
    if come.older is not None:
        skips.insert(0, Skip(*come.older, _why(come.older[1], schedule, now)))
    return _Judged([*(Run(fire, is_catch_up=True) for fire in kept), *timely], skips)


def _made_up_for(
    late: Sequence[datetime], schedule: Schedule, now: datetime, *, has_timely: bool
) -> Sequence[datetime]:
    most = {
        Misfire.SKIP: 0,
        Misfire.LATEST: 0 if has_timely else 1,  # one that is on time is the latest
        Misfire.ALL: MAX_CATCH_UP,
    }[schedule.spec.misfire]
    within = [fire for fire in late if not _is_too_late(fire, schedule, now)]
    return within[len(within) - min(most, len(within)) :]


def _why(fire: datetime, schedule: Schedule, now: datetime) -> SkipReason:
    if schedule.spec.misfire is Misfire.SKIP:
        return SkipReason.MISFIRE
    if _is_too_late(fire, schedule, now):
        return SkipReason.TOO_LATE
    return SkipReason.TOO_MANY if schedule.spec.misfire is Misfire.ALL else SkipReason.MISFIRE


def _is_too_late(fire: datetime, schedule: Schedule, now: datetime) -> bool:
    return now - fire > timedelta(seconds=schedule.spec.misfire_grace)


def _judge_held(come: _Come) -> _Judged:
    """They were watched and wait for a run to end; only the newest can wait."""
    too_many = come.times[: max(0, len(come.times) - MAX_CATCH_UP)]
    skips = [Skip(fire, fire, SkipReason.TOO_MANY) for fire in too_many]
    if come.older is not None:
        skips.insert(0, Skip(*come.older, SkipReason.TOO_MANY))
    return _Judged([Run(fire, is_catch_up=False) for fire in come.times[len(too_many) :]], skips)


# -- overlap


def _apart(plan: Plan, schedule: Schedule, overlap: Overlap, *, busy: bool) -> Plan:
    """At most one at a time, unless they may overlap."""
    if overlap is Overlap.ALLOW or not plan.runs:
        return plan
    if overlap is Overlap.QUEUE:
        return _one_after_another(plan, schedule, busy=busy)
    if overlap is Overlap.REPLACE:
        return _only(plan, plan.runs[-1:])
    return _only(plan, () if busy else plan.runs[:1])


def _only(plan: Plan, runs: Sequence[Run]) -> Plan:
    others = [
        Skip(run.fire_time, run.fire_time, SkipReason.OVERLAP)
        for run in plan.runs
        if run not in runs
    ]
    return replace(plan, runs=runs, skips=[*plan.skips, *others])


def _one_after_another(plan: Plan, schedule: Schedule, *, busy: bool) -> Plan:
    """The first runs if it may; the rest is decided when that has ended."""
    runs, waiting = ([], plan.runs) if busy else (plan.runs[:1], plan.runs[1:])
    if not waiting:
        return plan
    decided = [run.fire_time for run in runs] or [skip.last for skip in plan.skips]
    return replace(
        plan,
        runs=runs,
        next_fire_at=waiting[0].fire_time,
        fired_until=max(decided, default=schedule.fired_until),
        is_held=True,
    )
