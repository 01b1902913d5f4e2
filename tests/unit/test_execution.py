"""What follows from the end of an attempt: every ending, every count, either `on_lost`."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from pipeline.domain.execution import (
    Cancelled,
    Decision,
    Ending,
    ErrorInfo,
    Failed,
    HeldBack,
    Lost,
    Outcome,
    Released,
    Succeeded,
    TimedOut,
    conclude,
)
from pipeline.domain.job import MAX_LOST, Job, OnLost
from pipeline.domain.states import Event
from tests.builders import a_job
from tests.fakes.clock import START

pytestmark = pytest.mark.unit

ERROR = ErrorInfo("Boom", "it broke", "the long story")
ENDINGS: list[Ending] = [
    Succeeded(), Failed(ERROR), Failed(ERROR, retryable=False), TimedOut(ERROR), Lost(ERROR),
    Cancelled(), Released(),
]  # fmt: skip
RETRY = {"base": 40, "jitter": "none", "backoff": "fixed", "max_attempts": 3}


def a_running(on_lost: OnLost = OnLost.RETRY, **fields: Any) -> Job:
    return a_job(body={"on_lost": on_lost.value, "retry": RETRY}, **fields)


def decided(job: Job, ending: Ending, lot: float = 0.5) -> Decision:
    return conclude(job, ending, finished_at=START, lot=lot).decision


def expected(ending: Ending, on_lost: OnLost, failures: int, losses: int) -> Decision:
    """R6, R7 and R9, said once more in other words."""
    match ending, on_lost:
        case Succeeded(), _:
            return Decision(Event.SUCCEED)
        case Cancelled(), _:
            return Decision(Event.CANCEL)
        case Failed(retryable=False), _:
            return Decision(Event.DIE, reason="not_retryable")
        case ((Failed() | TimedOut()), _) if failures + 1 == RETRY["max_attempts"]:
            return Decision(Event.DIE, reason="exhausted")
        case ((Failed() | TimedOut()), _):
            return Decision(Event.RETRY, delay=timedelta(seconds=40))
        case ((Lost() | Released()), OnLost.DEAD):
            return Decision(Event.DIE, reason="lost")
        case Released(), _:
            return Decision(Event.RELEASE)
        case _ if losses + 1 == MAX_LOST:
            return Decision(Event.DIE, reason="poison")
        case _:
            return Decision(Event.LOSE)


@pytest.mark.parametrize(
    ("ending", "on_lost", "failures", "losses"),
    list(product(ENDINGS, OnLost, range(3), range(MAX_LOST))),
)
def test_every_ending_decides_what_happens_to_the_job(
    ending: Ending, on_lost: OnLost, failures: int, losses: int
) -> None:
    job = a_running(on_lost, failures=failures, losses=losses)
    assert decided(job, ending) == expected(ending, on_lost, failures, losses)


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (Succeeded(), Outcome.SUCCEEDED),
        (Failed(ERROR), Outcome.FAILED),
        (Failed(ERROR, retryable=False), Outcome.FAILED),
        (TimedOut(ERROR), Outcome.TIMED_OUT),
        (Lost(ERROR), Outcome.LOST),
        (Cancelled(), Outcome.CANCELLED),
        (Released(), Outcome.RELEASED),
        (HeldBack(ERROR, timedelta(seconds=7)), Outcome.RELEASED),
    ],
)
def test_the_outcome_is_how_it_ended_not_what_follows(ending: Ending, outcome: Outcome) -> None:
    for failures in range(3):
        record = conclude(a_running(failures=failures), ending, finished_at=START, lot=0)
        assert record.outcome is outcome


def test_h6_what_may_run_only_once_is_lost_and_not_released() -> None:
    """H6: SIGTERM in the middle of a job with `on_lost: dead`: released, it would run a second
    time."""
    record = conclude(a_running(OnLost.DEAD), Released(), finished_at=START, lot=0)
    assert record.outcome is Outcome.LOST
    assert record.decision == Decision(Event.DIE, reason="lost")
    assert record.error is not None
    assert record.error.type == "lost"


def test_on_lost_dead_says_nothing_about_failures() -> None:
    assert decided(a_running(OnLost.DEAD), Failed(ERROR)).event is Event.RETRY


def test_h23_a_job_with_one_attempt_survives_releases_and_two_losses() -> None:
    """H23: Compared with `max_attempts`, a deploy would burn the only attempt that there is."""
    body = {"retry": {"max_attempts": 1}}
    for losses in range(2):
        job = a_job(body=body, attempt=9, losses=losses)
        assert decided(job, Released()) == Decision(Event.RELEASE)
        assert decided(job, Lost(ERROR)) == Decision(Event.LOSE)


def test_h23_losses_are_not_failures_and_failures_no_losses() -> None:
    """H23: each has a limit of its own."""
    assert decided(a_running(losses=2), Failed(ERROR)).event is Event.RETRY
    assert decided(a_running(failures=2), Lost(ERROR)).event is Event.LOSE


@pytest.mark.parametrize("on_lost", OnLost)
def test_what_was_held_back_has_not_begun_and_counts_as_nothing(on_lost: OnLost) -> None:
    """Not even where a release would be a loss (H6): nothing of it was done."""
    held = HeldBack(ERROR, timedelta(seconds=7))
    for failures, losses in product(range(3), range(MAX_LOST)):
        job = a_running(on_lost, failures=failures, losses=losses)
        assert decided(job, held) == Decision(Event.RELEASE, delay=timedelta(seconds=7))


def test_h14_what_is_lost_or_released_is_due_now_and_pending() -> None:
    """H14: `queued` would have nobody left to look at it; `pending` has the dispatcher."""
    for ending in (Lost(ERROR), Released()):
        assert decided(a_running(), ending).delay == timedelta(0)


def test_the_number_of_the_attempt_decides_nothing() -> None:
    """After redrives, losses and releases it is far beyond `max_attempts` (H24)."""
    assert decided(a_running(attempt=1000), Failed(ERROR)).event is Event.RETRY


def test_the_lot_is_drawn_once_and_stands_in_the_record() -> None:
    job = a_job(body={"retry": {"base": 100, "backoff": "fixed"}})
    assert [decided(job, Failed(ERROR), lot).delay for lot in (0.0, 0.25)] == [
        timedelta(0), timedelta(seconds=25),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        (timedelta(seconds=7), timedelta(seconds=7)),
        (timedelta(hours=5), timedelta(hours=5)),
        (timedelta(0), timedelta(0)),
        (timedelta(seconds=-1), timedelta(0)),
        (timedelta.max, timedelta(days=366)),
    ],
)
def test_retry_after_overrides_the_policy_within_reason(
    asked: timedelta, waited: timedelta
) -> None:
    """A server that asks for 8,000 years would make a due time that no MongoDB client can read."""
    assert decided(a_running(), Failed(ERROR, retry_after=asked)).delay == waited


def test_retry_after_buys_no_further_attempt() -> None:
    dying = Failed(ERROR, retry_after=timedelta(seconds=1))
    assert decided(a_running(failures=2), dying).event is Event.DIE


def test_the_record_names_the_attempt_that_it_ends() -> None:
    job = a_job(attempt=7, lease_id="L", worker="W", queued_at=START)
    ending = Succeeded({"n": 1}, {"status": 200})
    record = conclude(job, ending, finished_at=START + timedelta(seconds=2), lot=0)
    assert (record.id, record.lease_id, record.worker) == (f"{job.id}/7", "L", "W")
    assert (record.queued_at, record.started_at) == (START, job.started_at)
    assert (record.result, record.report, record.error) == ({"n": 1}, {"status": 200}, None)


@pytest.mark.parametrize("ending", [Failed(ERROR, report={"a": 1}), TimedOut(ERROR, {"a": 1})])
def test_what_went_wrong_is_recorded(ending: Ending) -> None:
    record = conclude(a_job(), ending, finished_at=START, lot=0)
    assert (record.error, record.result, record.report) == (ERROR, None, {"a": 1})
