"""The scheduler: fire times become jobs, once each, however many watchers look (R13).

The jobs are inserted first, under ids made from the fire times; then the schedule moves on, if it
still stands as it was read. A crash in between leaves jobs that the next watcher finds known, and a
schedule that is looked at again. Where runs may overlap the job is stored a little ahead and is as
punctual as any other; where they may not, the fire is decided in its moment, and the loop is awake
in that moment.

What was missed while nobody watched is made up for at the lowest priority and at a bounded rate,
so that it takes nothing from what is due now.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipeline.arrival import announce
from pipeline.domain.errors import Conflict, NotFound
from pipeline.domain.firing import ON_TIME, Plan, Run, Skip, SkipReason, decide
from pipeline.domain.instants import whole_ms_up
from pipeline.domain.job import Submission
from pipeline.domain.priority import LOWEST
from pipeline.domain.schedule import Overlap, Schedule
from pipeline.ending import call_off
from pipeline.operator import cancel
from pipeline.ports import (
    NOTHING_TOLD,
    Advance,
    Chance,
    Clock,
    JobStore,
    LeaseQueue,
    LiveNotes,
    ScheduleStore,
    Stored,
)
from pipeline.telemetry import FIRE_DELAY, FIRED, SKIPPED, log
from pipeline.watchers.loop import Loop

_POLL = timedelta(milliseconds=500)
_HELD = timedelta(milliseconds=500)
_PAGE = 500
_INSERT = 250
"""So many jobs are made and encoded without a break: some milliseconds of CPU."""
_CATCH_UP_STEP = timedelta(milliseconds=20)
_STALE_SECONDS = 60.0
_SLICE_SECONDS = 0.005
_TIMER_SECONDS = 0.001
"""Timers of an event loop are no finer; a little too early would be a step for nothing."""

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class _Fire:
    """A fire time that gets a job."""

    schedule: Schedule
    run: Run


class Scheduler:
    """One page of schedules a step; keeps in memory only when it looked, when it has to look next,
    and how far its catching up reaches."""

    def __init__(
        self,
        schedules: ScheduleStore,
        jobs: JobStore,
        queue: LeaseQueue,
        clock: Clock,
        notes: LiveNotes = NOTHING_TOLD,
    ) -> None:
        self._schedules = schedules
        self._jobs = jobs
        self._queue = queue
        self._clock = clock
        self._notes = notes
        self._next_look: datetime | None = None
        self._last_look: datetime | None = None
        self._watched_since = clock.now()
        self._last_slot: datetime | None = None

    def loop(self, chance: Chance) -> Loop:
        """The loop that runs it: twice a second and more, and whenever a schedule is to be looked
        at."""
        return Loop(
            "scheduler", self.step, _POLL, self._clock, chance, at_latest=self._until_next_look
        )

    def _until_next_look(self) -> float:
        if self._next_look is None:
            return _POLL.total_seconds()
        wait = (self._next_look - self._clock.now()).total_seconds()
        return max(0.0, wait) + _TIMER_SECONDS

    async def step(self) -> None:
        """Look at a page of what has come, if anything has. More than a page: it runs again."""
        self._next_look = await self._schedules.next_look_at()
        self._watch()
        if self._next_look is None or self._next_look > self._clock.now():
            return
        read_at = self._clock.monotonic()
        page = await self._schedules.schedules_to_look_at(self._clock.now(), _PAGE)
        await self._fire(page, read_at)

    def _watch(self) -> None:
        """What comes while we look again and again is not missed, however long our work takes; what
        came while MongoDB was out of reach or we stood still is."""
        now = self._clock.now()
        if self._last_look is None or now - self._last_look > ON_TIME:
            self._watched_since = now
        self._last_look = now

    async def _fire(self, page: Sequence[Schedule], read_at: float) -> None:
        now = self._clock.now()
        free = await self._decide(page, now, busy=False)
        if not free:  # another version looks earlier than we do: to look again at once would spin
            self._next_look = None
            return
        earlier = await self._earlier_runs(free)
        if self._is_stale(read_at):
            return
        await self._replace(free, earlier)
        if self._is_stale(read_at):
            return
        advances = await self._decide_again(free, earlier, now)
        refused = await self._store(_fires(advances), now)
        advances = [_without(advance, refused) for advance in advances]
        await self._schedules.advance(advances, now + _HELD)
        for advance in advances:
            for skip in advance.plan.skips:
                SKIPPED.labels(skip.reason).inc()

    def _is_stale(self, read_at: float) -> bool:
        """We were held up: schedules may have been changed, and others have fired (R13). Left as
        they are, they are read again by the next step."""
        return self._clock.monotonic() - read_at > _STALE_SECONDS

    # -- deciding ----------------------------------------------------------------------------

    async def _decide(
        self, schedules: Sequence[Schedule], now: datetime, *, busy: bool
    ) -> Sequence[Advance]:
        """What has come of each. Others get their turn every few milliseconds."""
        advances: list[Advance] = []
        began = self._clock.monotonic()
        for schedule in schedules:
            plan = self._plan(schedule, now, busy=busy)
            if plan is not None and (plan.is_held or plan.next_fire_at != schedule.next_fire_at):
                advances.append(Advance(schedule, plan))
            if self._clock.monotonic() - began > _SLICE_SECONDS:
                await self._clock.sleep(0)
                began = self._clock.monotonic()
        return advances

    def _plan(self, schedule: Schedule, now: datetime, *, busy: bool) -> Plan | None:
        """None: its rule cannot be reckoned with here (a zone that this host does not know)."""
        try:
            return decide(schedule, now, busy=busy, watched_since=self._watched_since)
        except Exception:
            _log.exception("schedule.broken", schedule=schedule.id, next="passed over for a minute")
            self._schedules.pass_over([schedule.id])
            return None

    async def _earlier_runs(self, advances: Sequence[Advance]) -> Mapping[str, Sequence[str]]:
        """Unfinished runs of fire times before the one that is about to run, where that matters.

        The job of this very fire time is not among them: it is ours, or that of another watcher
        that decides the same (H8).
        """
        before = {
            advance.before.id: advance.plan.runs[0].fire_time
            for advance in advances
            if advance.plan.runs and advance.before.spec.overlap is not Overlap.ALLOW
        }
        return await self._schedules.unfinished_runs(before) if before else {}

    async def _replace(
        self, advances: Sequence[Advance], earlier: Mapping[str, Sequence[str]]
    ) -> None:
        """Cancel the runs whose place is taken."""
        for advance in advances:
            if advance.before.spec.overlap is Overlap.REPLACE:
                for job_id in earlier.get(advance.before.id, ()):
                    with suppress(NotFound, Conflict):  # it has ended by itself
                        cancelled = await cancel(job_id, self._jobs, self._clock, notes=self._notes)
                        await call_off(cancelled, self._queue)

    async def _decide_again(
        self, free: Sequence[Advance], earlier: Mapping[str, Sequence[str]], now: datetime
    ) -> Sequence[Advance]:
        """Those that must not run beside an earlier run that goes on."""
        alone = (Overlap.SKIP, Overlap.QUEUE)
        busy = {
            advance.before.id
            for advance in free
            if earlier.get(advance.before.id) and advance.before.spec.overlap in alone
        }
        again = [advance.before for advance in free if advance.before.id in busy]
        others = [advance for advance in free if advance.before.id not in busy]
        return [*others, *await self._decide(again, now, busy=True)]

    # -- jobs --------------------------------------------------------------------------------

    def _submission(self, fire: _Fire, now: datetime) -> Submission:
        schedule, run = fire.schedule, fire.run
        if run.is_catch_up:
            return schedule.submission(run.fire_time, self._slot(now), LOWEST, now)
        due_at, priority = schedule.due_at(run.fire_time), schedule.spec.job.priority
        return schedule.submission(run.fire_time, due_at, priority, now)

    def _slot(self, now: datetime) -> datetime:
        """The next moment for a run that is made up for."""
        last = self._last_slot
        slot = now if last is None else max(now, last + _CATCH_UP_STEP)
        self._last_slot = slot
        return whole_ms_up(slot)

    async def _store(
        self, fires: Sequence[_Fire], now: datetime
    ) -> Mapping[str, Sequence[datetime]]:
        """Insert the jobs; the fire times of those that can never be stored, by schedule."""
        refused: dict[str, list[datetime]] = {}
        for start in range(0, len(fires), _INSERT):
            part = fires[start : start + _INSERT]
            submissions = [self._submission(fire, now) for fire in part]
            verdicts = await self._jobs.insert(submissions, now)
            fresh = [each for each, v in zip(submissions, verdicts, strict=True) if v is Stored.NEW]
            await announce([submission.entry for submission in fresh], now, self._queue)
            for fire, verdict in zip(part, verdicts, strict=True):
                if verdict is Stored.NEW:
                    _count(fire.run, now)
                elif verdict is Stored.REFUSED:
                    refused.setdefault(fire.schedule.id, []).append(fire.run.fire_time)
        return refused


def _fires(advances: Sequence[Advance]) -> Sequence[_Fire]:
    return [_Fire(advance.before, run) for advance in advances for run in advance.plan.runs]


def _without(advance: Advance, refused: Mapping[str, Sequence[datetime]]) -> Advance:
    """The schedule goes on; that these fire times have no job is written down."""
    times = refused.get(advance.before.id)
    if not times:
        return advance
    _log.warning("fires.refused", schedule=advance.before.id, next="written down as skipped")
    plan = advance.plan
    skips = [*plan.skips, *(Skip(at, at, SkipReason.REFUSED) for at in times)]
    runs = [run for run in plan.runs if run.fire_time not in times]
    return replace(advance, plan=replace(plan, runs=runs, skips=skips))


def _count(run: Run, now: datetime) -> None:
    FIRED.labels("catch_up" if run.is_catch_up else "on_time").inc()
    if not run.is_catch_up:
        FIRE_DELAY.observe(max(0.0, (now - run.fire_time).total_seconds()))
