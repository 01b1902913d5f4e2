"""The announcer tells what happens to jobs, on `dueq.events` (R12 is untouched: it moves none).

One watcher at a time holds the right to tell; every watcher offers itself. A round: read the next
changes, publish their events, confirmed and in order for each job, then move the bookmark. A crash
anywhere repeats what came after the bookmark, with the same ids; nothing is left out. RabbitMQ
blocked or away means that events wait in MongoDB's oplog: workers never wait for them.

While nobody listens and there is more to read than one round takes, it takes its time on purpose,
up to `MOST_LAG`: a burst of jobs does not pay for events that nobody hears.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from pipeline.domain.errors import Unavailable
from pipeline.domain.lifecycle import Change, EventError, History, JobEvent
from pipeline.domain.pauses import half_to_all
from pipeline.domain.states import State
from pipeline.ports import Chance, Clock, EventFeed, EventOutlet, HistoryLost
from pipeline.telemetry import EVENTS_LAG, EVENTS_PUBLISHED, STEP_ERRORS, log
from pipeline.watchers.loop import rest

LIMIT = 1_000
MOST_LAG = timedelta(seconds=10)
NAME = "announcer"
_AT_ONCE = 200
_KEEP_SECONDS = 1.5
_OFFER_SECONDS = 2.0
_RETRY_SECONDS = 1.0
_GATHERING_SECONDS = 0.5
_UNHURRIED_SECONDS = 2.0

_log = log(__name__)


class Announcer:
    """Runs round after round, until stopped."""

    def __init__(self, feed: EventFeed, outlet: EventOutlet, clock: Clock, chance: Chance) -> None:
        self._feed = feed
        self._outlet = outlet
        self._clock = clock
        self._chance = chance
        self._history = History()
        self._holds = False
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Return after `stop`, when the round under way is done and the right is given up."""
        while not self._stopping.is_set():
            if seconds := await self._tried():
                await rest(self._clock, seconds, self._stopping)
        try:
            await self._feed.let_go()
        except Unavailable as error:
            _log.warning("events.kept", error=str(error), next="the right runs out by itself")

    def stop(self) -> None:
        """End after the round under way."""
        self._stopping.set()

    async def round(self) -> float:
        """Hold, read, tell, mark; the seconds until the next."""
        if not self._holds:
            self._history.forget()
            self._holds = await self._feed.hold()
            if not self._holds:
                return half_to_all(_OFFER_SECONDS, self._chance.lot())
            _log.info("events.held", next="telling what happens")
        try:
            changes = await self._feed.read(LIMIT)
        except HistoryLost as error:
            await self._start_over(error)
            return 0.0
        async with self._right_kept():
            heard = await self._tell(changes)
        await self._mark()
        return self._rest_after(changes, heard)

    # -- telling ---------------------------------------------------------------------------

    async def _tell(self, changes: Sequence[Change]) -> int:
        if unknown := self._history.unknown(changes):
            self._history.learn(await self._feed.before(unknown, changes[0].moment))
        events = await self._with_errors(self._history.follow(changes))
        heard = 0
        for begin in range(0, len(events), _AT_ONCE):
            heard += await self._publish(events[begin : begin + _AT_ONCE])
        return heard

    @asynccontextmanager
    async def _right_kept(self) -> AsyncIterator[None]:
        """Telling may take longer than the right lasts, and the next holder would come no further.

        Ends before the bookmark is moved: a feed writes one thing at a time under its right.
        """
        told = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep(told))
                try:
                    yield
                finally:
                    told.set()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _keep(self, told: asyncio.Event) -> None:
        while not told.is_set():
            await rest(self._clock, _KEEP_SECONDS, told)
            if not told.is_set() and not await self._feed.hold():
                raise Unavailable("MongoDB", "the right to tell of events was lost")

    async def _with_errors(self, events: Sequence[JobEvent]) -> Sequence[JobEvent]:
        """A dead job says what it died of."""
        dead = [event for event in events if event.state is State.DEAD]
        ran = [(event.job_id, event.attempt) for event in dead if event.attempt]
        if not ran:
            return events
        errors = await self._feed.errors(ran)
        return [_with_error(event, errors) for event in events]

    async def _publish(self, events: Sequence[JobEvent]) -> int:
        heard = await self._outlet.publish(events)
        EVENTS_PUBLISHED.labels("heard").inc(heard)
        EVENTS_PUBLISHED.labels("unheard").inc(len(events) - heard)
        return heard

    async def _mark(self) -> None:
        self._holds = await self._feed.mark()
        if not self._holds:
            _log.warning("events.lost_right", next="another watcher tells; offers itself again")

    def _rest_after(self, changes: Sequence[Change], heard: int) -> float:
        """Not a moment, if there may be more and somebody waits for it.

        Where nobody heard the last ones, the next are gathered: told one by one they would cost the
        jobs of a quiet system a millisecond each.
        """
        if len(changes) < LIMIT:
            EVENTS_LAG.set(0)
            return _GATHERING_SECONDS if changes and not heard else 0.0
        lag = self._clock.now() - changes[-1].at
        EVENTS_LAG.set(lag.total_seconds())
        return 0.0 if heard or lag > MOST_LAG else _UNHURRIED_SECONDS

    # -- when MongoDB has forgotten --------------------------------------------------------

    async def _start_over(self, why: HistoryLost) -> None:
        """Say so, tell the ends that can be found, go on from now."""
        _log.error(
            "events.history_lost",
            error=str(why),
            lost="steps in between, and ends undone since; give MongoDB a larger oplog",
            next="tells of all jobs that ended meanwhile, goes on from now",
        )
        self._history.forget()
        ends = 0
        async with self._right_kept():
            async for batch in self._feed.start_over():
                ends += len(batch)
                await self._publish(await self._with_errors(batch))
        await self._mark()
        _log.warning("events.started_over", ends=ends)

    # -- the loop --------------------------------------------------------------------------

    async def _tried(self) -> float:
        """A failed round begins again at the bookmark, if it still has the right."""
        try:
            return await self.round()
        except Unavailable as error:
            _log.warning("loop.failed", loop=NAME, error=str(error), next="tries again")
        except Exception:
            _log.exception("loop.failed", loop=NAME, next="tries again")
        STEP_ERRORS.labels(NAME).inc()
        self._holds = False
        self._feed.rewind()
        self._history.forget()
        return half_to_all(_RETRY_SECONDS, self._chance.lot())


def _with_error(event: JobEvent, errors: Mapping[tuple[str, int], EventError]) -> JobEvent:
    error = errors.get((event.job_id, event.attempt or 0))
    return replace(event, error=error) if error and event.state is State.DEAD else event
