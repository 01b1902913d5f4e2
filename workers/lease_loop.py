"""Lease what fits, win the start, run it; then wait for the next due time or a push (R5).

One loop a queue. It never spins, never sleeps through a due job and never takes more than it can
run. A wake-up eaten while no slot is free is passed on to another worker; that there is more than
fitted, the lease itself tells the next one. A lost wake-up costs at most one poll.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pipeline.domain.errors import Unavailable
from pipeline.domain.job import Entry, Job
from pipeline.domain.pauses import half_to_all
from pipeline.ports import Claim, Grant, Lease
from pipeline.telemetry import GHOSTS, LEASED, STARTED, STEP_ERRORS, log
from workers.attempt import Attempts
from workers.bell import Bell
from workers.options import Ports, WorkerOptions
from workers.patience import Patience
from workers.slots import Slots

_BATCH = 500
_POLL = 10.0
_JITTER = 0.001
"""Who was outrun wakes spread over this, in seconds: punctuality is counted in milliseconds."""

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class _Leased:
    """A grant and what is ours by it, both reckoned from before the call was sent.

    Until `until` we may rely on it. What starts after `start_by` may come too late for a heartbeat
    to confirm it in time.
    """

    grant: Grant
    lease_id: str
    sent_at: float
    start_by: float
    until: float


class LeaseLoop:
    """Pulls one queue into the slots of this worker."""

    def __init__(
        self, name: str, options: WorkerOptions, ports: Ports, slots: Slots, attempts: Attempts
    ) -> None:
        self._name = name
        self._options = options
        self._store, self._queue = ports.store, ports.queue
        self._clock, self._chance = ports.clock, ports.chance
        self._slots = slots
        self._attempts = attempts
        self._patience = Patience(ports.clock, ports.chance)
        self._bell = Bell(ports.clock)
        self._awaited_due_at: datetime | None = None
        self._stopping = False

    def stop(self) -> None:
        """Lease nothing more; what is leased and not started goes back."""
        self._stopping = True
        self._bell.ring()

    async def run(self) -> None:
        """Until `stop`; an outage is waited out."""
        async with asyncio.TaskGroup() as group:
            listener = group.create_task(self._listen())
            await self._pull()
            listener.cancel()
        await self._pass_on()  # a cancelled read may have eaten a wake-up

    async def _pull(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                pause = await self._step()
                failures = 0
            except Exception as error:
                failures += 1
                pause = self._patience.pause_after(failures)
                self._tell_failure(error, pause)
            if pause is not None:
                await self._bell.wait(pause)
                await self._pass_on_if_full()  # another queue may have taken the last slot since

    async def _listen(self) -> None:
        """The standing read: renewed only while a slot is free, cancelled only at the end."""
        failures = 0
        while True:
            await self._slots.wait_for_room()
            try:
                await self._queue.await_work(self._name)
                failures = 0
            except Unavailable:
                failures += 1
                await self._patience.pause(failures)
                continue
            self._bell.ring()
            await self._pass_on_if_full()

    async def _pass_on_if_full(self) -> None:
        """We know that there is work and cannot take it: somebody else may be idle."""
        if not self._slots.has_room and not self._stopping:
            await self._pass_on()

    async def _pass_on(self) -> None:
        with suppress(Unavailable):
            await self._queue.pass_on(self._name)

    async def _step(self) -> float | None:
        """Lease and start once; how long to wait then, None if there may be more."""
        room = await self._slots.reserve(self._name)
        launched = 0
        try:
            if room == 0:
                return None
            leased = await self._lease(min(room, _BATCH))
            won = await self._win(leased)
            launched = len(won)
            self._launch(won, leased)
        finally:
            self._slots.give_back(self._name, room - launched)
        await self._sort_out(won, leased)
        has_taken_all = len(leased.grant.job_ids) < min(room, _BATCH)
        return self._until_next(leased) if has_taken_all else None

    # -- lease

    async def _lease(self, limit: int) -> _Leased:
        """A lost reply must not orphan a lease: the same again, under the same id.

        Not for long: a lease found in the end may be as old as the first try.
        """
        lease_id = self._chance.token()
        sent_at = self._clock.monotonic()
        until = sent_at + self._options.trust
        beat = self._options.beat
        call = partial(
            self._queue.lease,
            self._name,
            worker=self._options.id,
            lease_id=lease_id,
            limit=limit,
            ttl=self._options.lease,
        )
        grant = await self._patience.persist("lease", call, until=sent_at + beat)
        LEASED.labels(self._name).inc(len(grant.job_ids))
        return _Leased(grant, lease_id, sent_at, until - beat, until)

    def _until_next(self, leased: _Leased) -> float:
        """Seconds until the first delayed job is due, or until a look for safety.

        Both times of the grant are Redis's. It judged after we had sent the call, so counting from
        there we are rather a hair early, and ask again, than late.

        A crowd whose timers are set to one instant must not stay in step: who came for a due job
        and found it taken waits a little longer next time. Who works alone is never late by lot.
        """
        grant = leased.grant
        awaited, self._awaited_due_at = self._awaited_due_at, grant.next_due_at
        is_outrun = not grant.job_ids and awaited is not None and awaited <= grant.judged_at
        jitter = _JITTER * self._chance.lot() if is_outrun else 0.0
        poll = half_to_all(_POLL, self._chance.lot())
        if grant.next_due_at is None:
            return poll
        due_in = (grant.next_due_at - grant.judged_at).total_seconds()
        passed = self._clock.monotonic() - leased.sent_at
        return min(poll, max(due_in - passed, 0.0) + jitter)

    # -- start

    async def _win(self, leased: _Leased) -> Sequence[Job]:
        """Start in MongoDB; an unknown outcome is repeated under the same lease id (H5, H22)."""
        job_ids = leased.grant.job_ids
        if not job_ids or self._stopping:
            return ()
        claim = Claim(
            queue=self._name,
            lease_id=leased.lease_id,
            worker=self._options.id,
            judged_at=leased.grant.judged_at,
            started_at=self._clock.now(),
        )
        call = partial(self._store.start, job_ids, claim)
        return await self._patience.persist("start", call, until=leased.until)

    def _launch(self, won: Sequence[Job], leased: _Leased) -> None:
        """Run what was won, unless it was won too late."""
        if won:
            STARTED.labels(self._name).inc(len(won))
        if self._clock.monotonic() < leased.start_by:
            self._attempts.launch(won, leased.until)
        else:
            self._attempts.release_unrun(won)

    async def _sort_out(self, won: Sequence[Job], leased: _Leased) -> None:
        """What was not won goes back if its job still waits in this queue, else away (H10, H13)."""
        won_ids = {job.id for job in won}
        ghosts = [id for id in leased.grant.job_ids if id not in won_ids]
        if not ghosts:
            return
        if not self._stopping:
            GHOSTS.labels(self._name).inc(len(ghosts))
        try:
            call = partial(self._store.get_many, ghosts)
            jobs = await self._patience.persist("read ghosts", call, until=leased.until)
            await self._return(ghosts, [job for job in jobs.values() if self._waits(job)], leased)
        except Unavailable as error:
            _log.warning("ghosts.left", count=len(ghosts), error=str(error),
                         next="the reaper returns them when their lease has run out")  # fmt: skip

    async def _return(self, ghosts: Sequence[str], waiting: list[Job], leased: _Leased) -> None:
        returns: list[tuple[Lease, Entry]] = [
            (self._lease_of(job.id, leased), job.entry) for job in waiting
        ]
        waiting_ids = {job.id for job in waiting}
        rest = [self._lease_of(id, leased) for id in ghosts if id not in waiting_ids]
        if returns:
            call = partial(self._queue.give_back, returns)
            await self._patience.persist("give back", call, until=leased.until)
        if rest:
            await self._patience.persist(
                "drop", partial(self._queue.forgo, rest), until=leased.until
            )

    def _waits(self, job: Job) -> bool:
        """Whether it must stay in this queue. One past `expires_at` is the dispatcher's (R14).

        Given back, that one would come again at once, and again until the dispatcher has ended it.
        """
        return job.is_queued_in(self._name) and not job.is_expired(self._clock.now())

    def _lease_of(self, job_id: str, leased: _Leased) -> Lease:
        return Lease(job_id, self._name, self._options.id, leased.lease_id)

    def _tell_failure(self, error: Exception, pause: float) -> None:
        STEP_ERRORS.labels("lease").inc()
        if isinstance(error, Unavailable):
            _log.warning("lease.failed", queue=self._name, error=str(error), next_in_s=pause)
        else:
            _log.exception("lease.failed", queue=self._name, next_in_s=pause)
