"""The same for many jobs: cancel, redrive or bury all that a filter finds.

Found newest first, and only what was created before the call: jobs that are added meanwhile are not
touched, so a call has an end. Each batch is one conditional write that repeats the filter, so a job
is moved only if it is then what was asked for; running ones are cancelled by the record of their
attempt (R6). A job may pass from one state to another between the look and the write (H9): so it is
looked again until a look finds nothing more, and who does not come to that says so. A look misses
nothing that is all along what was asked for: a page is read as it was at one instant. A crash in
between leaves each job either as it was or moved; the same call again goes on.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from pipeline.domain.errors import Unavailable
from pipeline.domain.execution import Cancelled, Outcome, conclude
from pipeline.domain.instants import whole_ms_down
from pipeline.domain.states import VISIBLE_STATES, Event, State, sources_of
from pipeline.ending import nudge, told_by, withdraw
from pipeline.ports import (
    NOTHING_TOLD,
    Clock,
    JobFilter,
    JobStore,
    LeaseQueue,
    LiveNotes,
    Place,
)

_BATCH = 1_000
_RUNNING = 250  # what one has told may be 64 KiB
_COUNTED = 2_000
_LOOKS = 20
_MS = timedelta(milliseconds=1)
_WAITING = sources_of(Event.CHANGE)

Act = Callable[[JobFilter, Sequence[str]], Awaitable[int]]
"""Move these jobs, as far as they are still what the filter asks for; how many."""


@dataclass(frozen=True, slots=True)
class Tally:
    """`matched` jobs could be moved when they were found, `changed` of them were.

    Not `complete`: there were more than the limit or the time allowed, or jobs that moved too fast.
    """

    matched: int
    changed: int
    complete: bool

    @property
    def unchanged(self) -> int:
        """Somebody else was there first."""
        return self.matched - self.changed


@dataclass(slots=True)
class _Progress:
    """What a call has come to: which jobs it is about, and what was done to them."""

    limit: int
    ends: float
    seen: set[str] = field(default_factory=set)
    changed: int = 0

    @property
    def left(self) -> int:
        return self.limit - len(self.seen)

    def take(self, found: Sequence[str]) -> Sequence[str]:
        """Those that it is about by now: no more than the limit, but the same ones again."""
        return [job_id for job_id in found if job_id in self.seen or self._adds(job_id)]

    def _adds(self, job_id: str) -> bool:
        if self.left > 0:
            self.seen.add(job_id)
            return True
        return False


@dataclass(frozen=True, slots=True)
class _Look:
    """How many jobs were found, and whether these are all: not more than may be, and in time."""

    found: int
    complete: bool


class Bulk:
    """Calls on many jobs; none takes much longer than `within`."""

    def __init__(
        self,
        store: JobStore,
        queue: LeaseQueue,
        clock: Clock,
        within: timedelta,
        notes: LiveNotes = NOTHING_TOLD,
    ) -> None:
        self._notes = notes
        self._store = store
        self._queue = queue
        self._clock = clock
        self._seconds = within.total_seconds()
        self._is_heard = True
        """Whether Redis was there for our last hint: one that hangs is waited for once a call."""

    async def count(self, event: Event, wanted: JobFilter, limit: int) -> Tally:
        """How many jobs `event` could happen to, up to `limit`; nothing is moved."""
        narrowed = self._narrowed(event, wanted)
        progress = self._progress(limit)
        look = await self._look(narrowed, progress, _nothing, _COUNTED)
        return Tally(len(progress.seen), 0, look.complete)

    async def cancel(self, wanted: JobFilter, limit: int) -> Tally:
        """Cancel, also what runs."""
        return await self._all(Event.CANCEL, wanted, limit, self._cancel)

    async def redrive(self, wanted: JobFilter, limit: int) -> Tally:
        """Send what is dead or cancelled back to `pending`, due now."""
        return await self._all(Event.REDRIVE, wanted, limit, self._redrive)

    async def bury(self, wanted: JobFilter, limit: int) -> Tally:
        """Delete what does not run, with its executions."""
        return await self._all(Event.BURY, wanted, limit, self._bury)

    async def _all(self, event: Event, wanted: JobFilter, limit: int, act: Act) -> Tally:
        narrowed = self._narrowed(event, wanted)
        progress = self._progress(limit)
        self._is_heard, is_over = True, False
        for _ in range(_LOOKS):
            look = await self._look(narrowed, progress, act, _BATCH)
            is_over = look.complete and look.found == 0
            if is_over or not look.complete:
                break
        matched = len(progress.seen)
        # One that came back and was moved again is one job.
        return Tally(matched, min(progress.changed, matched), is_over)

    def _narrowed(self, event: Event, wanted: JobFilter) -> JobFilter:
        """To the states in which it can happen, and to what was there when the call came.

        Instants are stored in whole milliseconds: the one we are in is taken in.
        """
        start = whole_ms_down(self._clock.now()) + _MS
        before = wanted.created_before
        return replace(
            wanted,
            states=sources_of(event) & (wanted.states or VISIBLE_STATES),
            created_before=start if before is None else min(before, start),
        )

    def _progress(self, limit: int) -> _Progress:
        return _Progress(limit, self._clock.monotonic() + self._seconds)

    async def _look(self, wanted: JobFilter, progress: _Progress, act: Act, batch: int) -> _Look:
        """Go through the list once, to its end if possible."""
        found, after = 0, None
        while wanted.states:
            if self._clock.monotonic() > progress.ends:
                return _Look(found, complete=False)
            # One more than is left tells whether there are more.
            page = await self._store.list_ids(wanted, min(batch, progress.left + 1), after)
            taken = progress.take(page.job_ids)
            found += len(taken)
            if taken:
                progress.changed += await act(wanted, taken)
            if len(taken) < len(page.job_ids):
                return _Look(found, complete=False)
            after = page.next_after
            if after is None:
                break
        return _Look(found, complete=True)

    async def _cancel(self, wanted: JobFilter, job_ids: Sequence[str]) -> int:
        changed = 0
        if wanted.states - {State.RUNNING}:
            changed = await self._store.cancel_waiting_many(job_ids, wanted)
        if changed:
            places = await self._store.places(job_ids)
            await self._withdraw(job for job in places if job.state is State.CANCELLED)
        if changed < len(job_ids) and State.RUNNING in wanted.states:
            for start in range(0, len(job_ids), _RUNNING):
                part = job_ids[start : start + _RUNNING]
                changed += await self._cancel_running(wanted, part)
        return changed

    async def _cancel_running(self, wanted: JobFilter, job_ids: Sequence[str]) -> int:
        """By the record of the attempt. Where another stands, its job follows that: if it then
        waits to be tried again, the next look finds it."""
        jobs = await self._store.get_many(job_ids)
        running = [
            job for job in jobs.values() if job.state is State.RUNNING and wanted.covers(job)
        ]
        now = self._clock.now()
        told = await told_by(running, self._notes) if self._is_heard else {}
        records = [
            conclude(job, Cancelled(told.get(job.id, {})), finished_at=now, lot=0.0)
            for job in running
        ]
        if not records:
            return 0
        standing = await self._store.record(records)
        await self._store.settle(standing)
        self._is_heard = self._is_heard and await nudge(running, self._queue)
        return sum(record.outcome is Outcome.CANCELLED for record in standing)

    async def _redrive(self, wanted: JobFilter, job_ids: Sequence[str]) -> int:
        changed = await self._store.redrive_many(job_ids, wanted)
        if self._is_heard:  # without Redis's help the dispatcher finds them at its poll
            try:
                await self._queue.wake_dispatcher()
            except Unavailable:
                self._is_heard = False
        return changed

    async def _bury(self, wanted: JobFilter, job_ids: Sequence[str]) -> int:
        places = await self._store.places(job_ids) if wanted.states & _WAITING else []
        waiting = {job.id: job for job in places if job.state in _WAITING}
        changed = await self._store.bury_many(job_ids, wanted)
        for job in await self._store.places(list(waiting)) if waiting else []:
            del waiting[job.id]
        await self._withdraw(waiting.values())
        return changed

    async def _withdraw(self, ended: Iterable[Place]) -> None:
        self._is_heard = self._is_heard and await withdraw(ended, self._queue)


async def _nothing(_: JobFilter, __: Sequence[str]) -> int:
    return 0
