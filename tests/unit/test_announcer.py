"""Who tells, what is told again after a failure, and that nothing is left out."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from pipeline.domain.errors import Unavailable
from pipeline.domain.lifecycle import Change, EventError, JobEvent, Moment
from pipeline.domain.states import State
from pipeline.store.event_feed import HOLD
from pipeline.watchers.announcer import LIMIT, MOST_LAG, Announcer
from tests.fakes.clock import START, ManualClock, SeededChance
from tests.fakes.events import FakeEventFeed, FakeEventOutlet, Oplog

pytestmark = pytest.mark.unit


@pytest.fixture
def oplog() -> Oplog:
    return Oplog()


@pytest.fixture
def outlet() -> FakeEventOutlet:
    return FakeEventOutlet()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def announcer(oplog: Oplog, outlet: FakeEventOutlet, clock: ManualClock) -> Announcer:
    return Announcer(FakeEventFeed(oplog), outlet, clock, SeededChance(1))


def happens(oplog: Oplog, job_id: str, **fields: Any) -> None:
    moment = Moment(1_700_000_000, len(oplog.changes) + 1)
    oplog.changes.append(Change(job_id, moment, START, fields, whole="queue" in fields))


def life_of(oplog: Oplog, job_id: str) -> None:
    happens(oplog, job_id, state="queued", queue="q", attempt=0)
    happens(oplog, job_id, state="running", attempt=1)
    happens(oplog, job_id, state="dead", reason="exhausted", failures=1)


def states(events: Sequence[JobEvent]) -> list[tuple[str, str]]:
    return [(event.job_id, event.state.value) for event in events]


async def test_what_happens_is_told_in_order_and_marked(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer
) -> None:
    life_of(oplog, "a")
    await announcer.round()

    assert states(outlet.told) == [("a", "queued"), ("a", "running"), ("a", "dead")]
    assert oplog.bookmark == 3


async def test_only_one_tells_and_another_takes_over_when_it_lets_go(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer, clock: ManualClock
) -> None:
    other = Announcer(FakeEventFeed(oplog), outlet, clock, SeededChance(2))
    await announcer.round()
    life_of(oplog, "a")

    assert await other.round() > 0
    assert outlet.told == []
    announcer.stop()
    await announcer.run()
    await other.round()
    assert len(outlet.told) == 3


async def test_a_refusal_in_the_middle_repeats_all_of_it_with_the_same_ids(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer, clock: ManualClock
) -> None:
    life_of(oplog, "a")
    outlet.refuses_after = 2
    async with asyncio.TaskGroup() as group:
        running = group.create_task(announcer.run())
        await clock.run(0.1)
        assert oplog.bookmark == 0
        outlet.refuses_after = None
        await clock.run(1.0)
        announcer.stop()
        running.add_done_callback(lambda _: None)

    ids = [event.id for event in outlet.told]
    assert ids[:2] == ids[2:4]
    assert list(dict.fromkeys(ids)) == ids[2:5]
    assert oplog.bookmark == 3


async def test_the_attempt_is_right_when_changes_are_read_again(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer
) -> None:
    happens(oplog, "a", state="queued", queue="q", attempt=4)
    await announcer.round()
    happens(oplog, "a", state="cancelled")
    happens(oplog, "a", state="running", attempt=5)
    outlet.refuses_after = 1
    await announcer._tried()
    outlet.refuses_after = None
    await announcer.round()

    told = [(event.state.value, event.attempt) for event in outlet.told]
    assert told == [("queued", 4), ("cancelled", 4), ("cancelled", 4), ("running", 5)]


async def test_a_teller_that_froze_moves_no_bookmark_back_and_what_it_tells_are_repeats(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer, clock: ManualClock
) -> None:
    """It has read and told, freezes before its mark; another takes over and goes on further."""
    await announcer.round()
    life_of(oplog, "a")
    frozen, other_feed = oplog.holder, FakeEventFeed(oplog)
    assert frozen is not None
    await outlet.publish(await _told_before_it_froze(announcer, frozen))
    oplog.holder = None
    other = Announcer(other_feed, outlet, clock, SeededChance(2))
    await other.round()
    life_of(oplog, "b")
    await other.round()
    assert oplog.bookmark == 6

    assert await frozen.mark() is False
    assert oplog.bookmark == 6
    ids = list(dict.fromkeys(event.id for event in outlet.told))
    assert len(ids) == 6


async def _told_before_it_froze(announcer: Announcer, feed: FakeEventFeed) -> Sequence[JobEvent]:
    return announcer._history.follow(await feed.read(LIMIT))


async def test_a_dead_job_is_told_with_what_its_last_attempt_died_of(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer
) -> None:
    life_of(oplog, "a")
    oplog.errors["a", 1] = EventError(type="Boom", message="it broke")
    await announcer.round()

    assert [event.error for event in outlet.told] == [None, None, oplog.errors["a", 1]]


async def test_when_mongodb_has_forgotten_the_ends_are_told_and_it_goes_on_from_now(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer
) -> None:
    await announcer.round()
    life_of(oplog, "forgotten")
    fields = {"queue": "q", "attempt": 1}
    oplog.ends = [JobEvent("forgotten", State.DEAD, fields, Moment(1, 0), START, "found-1")]
    oplog.lost = True
    await announcer.round()
    life_of(oplog, "b")
    await announcer.round()

    assert states(outlet.told) == [
        ("forgotten", "dead"), ("b", "queued"), ("b", "running"), ("b", "dead"),
    ]  # fmt: skip
    assert oplog.bookmark == 6


async def test_a_failure_while_it_starts_over_starts_over_again(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer
) -> None:
    await announcer.round()
    end = JobEvent("a", State.DEAD, {"queue": "q"}, Moment(1, 0), START, "found-1")
    oplog.ends, oplog.lost, outlet.refuses_after = [end, end], True, 1
    with pytest.raises(Unavailable):
        await announcer.round()

    assert oplog.bookmark == 0


async def test_while_nobody_listens_a_full_round_is_followed_by_a_rest_until_the_lag_is_too_great(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer, clock: ManualClock
) -> None:
    for number in range(3 * LIMIT):
        happens(oplog, f"job-{number}", state="queued", queue="q", attempt=0)
    outlet.heard = False

    assert await announcer.round() > 0
    clock.set_now(START + MOST_LAG + timedelta(seconds=1))
    assert await announcer.round() == 0
    clock.set_now(datetime(2026, 1, 1, 12, 0, tzinfo=UTC))
    outlet.heard = True
    assert await announcer.round() == 0


async def test_where_nobody_heard_the_last_ones_the_next_are_gathered(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer
) -> None:
    life_of(oplog, "a")
    outlet.heard = False
    assert 0 < await announcer.round() <= 1
    assert await announcer.round() == 0, "nothing happened: it waits for what comes"

    life_of(oplog, "b")
    outlet.heard = True
    assert await announcer.round() == 0


async def test_who_tells_for_long_keeps_the_right_all_the_while(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer, clock: ManualClock
) -> None:
    """Each publish takes longer than the right lasts: between them would be too late."""
    for number in range(LIMIT):
        happens(oplog, f"job-{number}", state="queued", queue="q", attempt=0)
    outlet.takes = partial(clock.sleep, 9.0)
    async with asyncio.TaskGroup() as group:
        group.create_task(announcer.round())
        for second in range(45):
            assert oplog.kept >= second * 2 // HOLD.total_seconds()
            await clock.run(1.0)
    assert oplog.bookmark == LIMIT


async def test_who_has_lost_the_right_while_he_tells_stops_and_moves_no_bookmark(
    oplog: Oplog, outlet: FakeEventOutlet, announcer: Announcer, clock: ManualClock
) -> None:
    await announcer.round()
    life_of(oplog, "a")
    outlet.takes = partial(clock.sleep, 9.0)
    told = asyncio.ensure_future(announcer.round())
    await clock.run(1.0)
    oplog.holder = FakeEventFeed(oplog)
    await clock.run(3.0)

    with pytest.raises(Unavailable, match="right to tell"):
        await told
    assert (oplog.bookmark, outlet.told) == (0, [])
