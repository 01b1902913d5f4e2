"""What becomes of each fire time, against a model that walks through all of them one by one."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.firing import (
    MAX_CATCH_UP,
    ON_TIME,
    Plan,
    Run,
    Skip,
    SkipReason,
    decide,
)
from pipeline.domain.schedule import LEAD, Misfire, Overlap, Schedule, ScheduleSpec
from pipeline.ports import Advance
from tests.fakes.clock import START
from tests.schedules import a_schedule

pytestmark = pytest.mark.unit

S = timedelta(seconds=1)
MINUTE = 60 * S


def looked_at(
    schedule: Schedule,
    now: datetime,
    *,
    busy: bool = False,
    watched_since: datetime | None = None,
) -> tuple[Plan, Schedule]:
    plan = decide(schedule, now, busy=busy, watched_since=watched_since or now)
    return plan, Advance(schedule, plan).after


def times(runs: Sequence[Run]) -> list[float]:
    """In minutes since the start."""
    return [(run.fire_time - START) / MINUTE for run in runs]


def reasons(plan: Plan) -> list[tuple[float, float, str]]:
    return [
        ((skip.first - START) / MINUTE, (skip.last - START) / MINUTE, skip.reason)
        for skip in plan.skips
    ]


# -- in words


def test_nothing_is_decided_before_its_time() -> None:
    for overlap, ahead in (("allow", LEAD), ("skip", 0 * S), ("queue", 0 * S), ("replace", 0 * S)):
        schedule = a_schedule(overlap=overlap)
        early = START + MINUTE - ahead - timedelta(milliseconds=1)
        plan, after = looked_at(schedule, early)
        assert (plan.runs, plan.skips, after) == ((), (), schedule)
        plan, after = looked_at(schedule, START + MINUTE - ahead)
        assert times(plan.runs) == [1]
        assert after.next_fire_at == START + 2 * MINUTE


@pytest.mark.parametrize(
    ("misfire", "runs", "skips"),
    [
        ("skip", [5], [(at, at, "misfire") for at in (1, 2, 3, 4)]),
        ("latest", [5], [(at, at, "misfire") for at in (1, 2, 3, 4)]),
        ("all", [1, 2, 3, 4, 5], []),
    ],
)
def test_one_that_is_on_time_is_the_latest(
    misfire: str, runs: list[float], skips: list[tuple[float, float, str]]
) -> None:
    plan, _ = looked_at(a_schedule(misfire=misfire), START + 5 * MINUTE + ON_TIME)
    assert (times(plan.runs), reasons(plan)) == (runs, skips)


@pytest.mark.parametrize(
    ("misfire", "runs", "skips"),
    [
        ("skip", [], [(at, at, "misfire") for at in (1, 2, 3)]),
        ("latest", [3], [(1, 1, "misfire"), (2, 2, "misfire")]),
        ("all", [1, 2, 3], []),
    ],
)
def test_when_nobody_watched_the_policy_says_what_is_made_up_for(
    misfire: str, runs: list[float], skips: list[tuple[float, float, str]]
) -> None:
    plan, _ = looked_at(a_schedule(misfire=misfire), START + 3.5 * MINUTE)
    assert (times(plan.runs), reasons(plan)) == (runs, skips)
    assert all(run.is_catch_up for run in plan.runs)


def test_what_came_while_somebody_watched_is_late_and_not_missed() -> None:
    """A watcher with ten thousand schedules to fire needs some seconds for the last of them."""
    schedule = a_schedule(misfire="skip")
    plan, _ = looked_at(schedule, START + 2.5 * MINUTE, watched_since=START + 2 * MINUTE)
    assert (times(plan.runs), reasons(plan)) == ([2], [(1, 1, "misfire")])
    assert not plan.runs[0].is_catch_up


def test_after_the_grace_nothing_is_made_up_for() -> None:
    for misfire in ("latest", "all"):
        schedule = a_schedule(misfire=misfire, misfire_grace=20)
        plan, _ = looked_at(schedule, START + 2.5 * MINUTE)
        assert times(plan.runs) == []
        assert reasons(plan) == [(1, 1, "too_late"), (2, 2, "too_late")]


def test_a_year_that_nobody_watched_is_a_span_and_its_newest_hundred() -> None:
    schedule = a_schedule(misfire="all", misfire_grace=30_000)
    year = 365 * 24 * 60
    plan, after = looked_at(schedule, START + (year + 0.5) * MINUTE)
    assert len(plan.runs) == MAX_CATCH_UP
    assert times(plan.runs)[-1] == year
    assert plan.skips[0].first == START + MINUTE
    assert plan.skips[0].reason == SkipReason.TOO_MANY
    assert after.next_fire_at == START + (year + 1) * MINUTE


def test_a_run_that_goes_on_makes_the_next_wait_be_skipped_or_replaced() -> None:
    now = START + MINUTE
    plan, after = looked_at(a_schedule(overlap="skip"), now, busy=True)
    assert (plan.runs, reasons(plan)) == ((), [(1, 1, "overlap")])
    assert after.next_fire_at == START + 2 * MINUTE
    plan, after = looked_at(a_schedule(overlap="replace"), now, busy=True)
    assert times(plan.runs) == [1]
    plan, after = looked_at(a_schedule(overlap="queue"), now, busy=True)
    assert (plan.runs, plan.skips) == ([], [])
    assert (after.next_fire_at, after.is_held) == (now, True)


def test_what_waited_for_a_run_to_end_is_no_misfire_however_long_it_waited() -> None:
    schedule = a_schedule(overlap="queue", misfire="skip")
    _, held = looked_at(schedule, START + MINUTE, busy=True)
    _, held = looked_at(held, START + 60 * MINUTE, busy=True)
    plan, after = looked_at(held, START + 60.5 * MINUTE)
    assert (times(plan.runs), plan.skips) == ([1], [])
    assert not plan.runs[0].is_catch_up
    assert (after.next_fire_at, after.is_held) == (START + 2 * MINUTE, True)


def test_only_a_hundred_can_wait() -> None:
    _, held = looked_at(a_schedule(overlap="queue"), START + MINUTE, busy=True)
    plan, after = looked_at(held, START + 150 * MINUTE, busy=True)
    assert plan.runs == []
    assert {skip.reason for skip in plan.skips} == {SkipReason.TOO_MANY}
    assert after.next_fire_at == START + 51 * MINUTE


def test_the_last_one_waiting_ends_the_hold() -> None:
    _, held = looked_at(a_schedule(overlap="queue"), START + MINUTE, busy=True)
    plan, after = looked_at(held, START + 1.5 * MINUTE)
    assert times(plan.runs) == [1]
    assert (after.next_fire_at, after.is_held) == (START + 2 * MINUTE, False)


def test_a_change_of_the_rule_decides_on_nothing_again() -> None:
    """The fire of 12:01 was stored ahead; then the owner asks for every half minute."""
    schedule = a_schedule()
    _, fired = looked_at(schedule, START + MINUTE - LEAD)
    patched = replace(fired, spec=ScheduleSpec(every=30), version=2)
    patched = replace(patched, next_fire_at=patched.next_after(START + MINUTE - 3 * S))
    assert patched.next_fire_at == START + 1.5 * MINUTE


def test_an_interval_in_fractions_of_a_millisecond_fires_at_whole_ones() -> None:
    """The store keeps milliseconds: a fire time must come back from it as the same one."""
    schedule = a_schedule(at=START + timedelta(microseconds=1700), every=1.0006)
    assert schedule.next_fire_at == START + timedelta(milliseconds=1001 + 1)


# -- the model


@dataclass
class Owned:
    """Every fire time of a schedule, and what became of each."""

    schedule: Schedule
    ran: dict[datetime, Run] = field(default_factory=dict)
    skipped: dict[datetime, SkipReason] = field(default_factory=dict)

    def fires(self, until: datetime) -> Iterator[datetime]:
        """By adding, not by the rule's own reckoning."""
        spec = self.schedule.spec
        assert spec.every is not None
        at = spec.start_at or START + spec.every * S
        while at <= min(until, spec.end_at or until):
            yield at
            at += spec.every * S

    def undecided(self, until: datetime) -> list[datetime]:
        return [at for at in self.fires(until) if at not in self.ran and at not in self.skipped]

    def take(self, plan: Plan, until: datetime) -> None:
        """Write down what was decided; twice is an error."""
        known = list(self.fires(until))
        for run in plan.runs:
            assert run.fire_time in known
            assert run.fire_time not in self.ran
            assert run.fire_time not in self.skipped
            self.ran[run.fire_time] = run
        for skip in plan.skips:
            named = known[bisect_left(known, skip.first) : bisect_right(known, skip.last)]
            assert named, "a skip of nothing"
            for at in named:
                assert at not in self.ran
                assert at not in self.skipped
                self.skipped[at] = skip.reason


def expected_runs(
    schedule: Schedule, come: list[datetime], now: datetime, since: datetime, busy: bool
) -> set[datetime]:
    """What the documentation says, on the whole list."""
    spec = schedule.spec
    if schedule.is_held:
        kept = come[-MAX_CATCH_UP:]
    else:
        late = [at for at in come if now - at > ON_TIME and at < since]
        within = [at for at in late if now - at <= spec.misfire_grace * S]
        timely = [at for at in come if at not in late]
        made_up = {
            Misfire.SKIP: [],
            Misfire.LATEST: [] if any(at <= now for at in timely) else within[-1:],
            Misfire.ALL: within[-MAX_CATCH_UP:],
        }
        kept = made_up[spec.misfire] + timely
    return set({
        Overlap.ALLOW: kept,
        Overlap.SKIP: [] if busy else kept[:1],
        Overlap.QUEUE: [] if busy else kept[:1],
        Overlap.REPLACE: kept[-1:],
    }[spec.overlap])  # fmt: skip


SPECS = st.builds(
    lambda every, misfire, overlap, grace, ends: ScheduleSpec(
        every=every,
        misfire=misfire,
        overlap=overlap,
        misfire_grace=grace,
        end_at=None if ends is None else START + ends * S,
    ),
    every=st.sampled_from([1, 7, 60, 600]),
    misfire=st.sampled_from(Misfire),
    overlap=st.sampled_from(Overlap),
    grace=st.sampled_from([0, 3, 60, 3600, 86_400]),
    ends=st.none() | st.integers(1, 20_000),
)
LOOKS = st.lists(
    st.tuples(
        st.sampled_from([0.01, 0.5, 1, 4, 5, 6, 59, 60, 200, 900, 3000]),
        st.booleans(),
        st.sampled_from([0, 0, 0, 1, 8, 15]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(spec=SPECS, looks=LOOKS)
def test_every_fire_time_runs_or_is_skipped_once_and_as_documented(
    spec: ScheduleSpec, looks: list[tuple[float, bool, float]]
) -> None:
    new = Schedule("s", spec, {}, START, START, 1, None)
    owned = Owned(replace(new, next_fire_at=new.next_after(START)))
    now = START
    for seconds, busy, watched in looks:
        now += seconds * S
        until = now + LEAD if spec.overlap is Overlap.ALLOW else now
        come, before = owned.undecided(until), owned.schedule
        since = now - watched * S
        plan, owned.schedule = looked_at(before, now, busy=busy, watched_since=since)
        expected = expected_runs(before, come, now, since, busy)
        owned.take(plan, until)
        assert {run.fire_time for run in plan.runs} == expected
        left = owned.undecided(until)
        if left:
            assert spec.overlap is Overlap.QUEUE
            assert len(left) <= MAX_CATCH_UP + 16
        assert owned.schedule.is_held == bool(left)
        decided = max([*owned.ran, *owned.skipped], default=None)
        if decided is not None:  # a change of the rule must not decide on it again
            until_then = owned.schedule.fired_until
            assert until_then is not None
            assert decided <= until_then < min(left, default=until + MINUTE)
        following = [at for at in owned.fires(until + 700 * S) if at > until]
        assert owned.schedule.next_fire_at == next(iter(left + following), None)


@settings(max_examples=50, deadline=None)
@given(spec=SPECS, looks=LOOKS, later=st.lists(st.floats(0, 5), min_size=8, max_size=8))
def test_of_two_watchers_at_two_moments_whoever_wins_no_fire_time_is_lost_or_has_two_fates(
    spec: ScheduleSpec, looks: list[tuple[float, bool, float]], later: list[float]
) -> None:
    """Both read the same schedule and decide some seconds apart; one's advance is refused. Jobs
    of both are stored: a fire time that has a job counts as run, whoever wrote a skip of it."""
    new = Schedule("s", spec, {}, START, START, 1, None)
    winner = replace(new, next_fire_at=new.next_after(START))
    jobs: Counter[datetime] = Counter()
    skips: list[Skip] = []
    now = START
    for (seconds, busy, watched), more in zip(looks, later, strict=False):
        now += seconds * S
        since = now - watched * S
        slow, _ = looked_at(winner, now + more * S, busy=busy, watched_since=since)
        fast, winner = looked_at(winner, now, busy=busy)
        for plan in (fast, slow):
            jobs.update({run.fire_time for run in plan.runs})
            skips += plan.skips
        decided = [
            at
            for at in Owned(winner).fires(now)
            if winner.next_fire_at is None or at < winner.next_fire_at
        ]
        for at in decided:
            assert at in jobs or any(skip.first <= at <= skip.last for skip in skips)


def test_the_instants_of_a_plan_are_aware() -> None:
    plan, after = looked_at(a_schedule(cron="* * * * *", timezone="Asia/Tokyo"), START + MINUTE)
    assert plan.runs[0].fire_time.utcoffset() == timedelta(0)
    assert after.next_fire_at is not None
    assert after.next_fire_at.tzinfo in (UTC, START.tzinfo)
