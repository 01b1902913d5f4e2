"""The checker of the chaos tests is itself a claim: each rule must catch what it is for."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.checker import Rule, violations
from tests.chaos.history import Asked, Ended, History, Orphan, Told
from tests.chaos.sink import SINK, Seen, Sighting, read, witness
from tests.chaos.summary import summarise

DUE = 1000.0


def saw(seen: Seen, attempt: int = 1, at: float = DUE, job_id: str = "a") -> Sighting:
    return Sighting(seen, job_id, attempt, at, pid=1)


def told(*outcomes: str, status: str = "succeeded", job_id: str = "a") -> Told:
    executions = [Ended(number, outcome) for number, outcome in enumerate(outcomes, 1)]
    return Told(job_id, status, len(outcomes), executions)


GOOD = History(
    asked={"a": Asked("a", DUE, backoff=0.3)},
    accepted={"a": DUE - 1},
    seen=[saw(Seen.STARTED), saw(Seen.ENDED, at=DUE + 0.1)],
    told={"a": told("succeeded")},
    waiting_in_redis={"ready": []},
)
RETRIED = replace(
    GOOD,
    seen=[
        saw(Seen.STARTED),
        saw(Seen.FAILED, at=DUE + 0.1),
        saw(Seen.STARTED, 2, DUE + 0.4),
        saw(Seen.ENDED, 2, DUE + 0.5),
    ],
    told={"a": told("failed", "succeeded")},
)


def rules(history: History) -> set[Rule]:
    return {violation.rule for violation in violations(history)}


@pytest.mark.parametrize("history", [GOOD, RETRIED], ids=["at once", "after a failure"])
def test_a_history_that_kept_its_word_has_no_violation(history: History) -> None:
    assert violations(history) == []


def test_an_accepted_job_that_does_not_exist_is_lost() -> None:
    assert rules(replace(GOOD, told={})) == {Rule.LOST}


@pytest.mark.parametrize("status", ["pending", "queued", "running"])
def test_an_accepted_job_that_never_ends_is_lost(status: str) -> None:
    unfinished = told("failed", status=status)
    assert rules(replace(GOOD, told={"a": unfinished})) == {Rule.LOST}


def test_a_job_whose_answer_never_came_may_exist_or_not() -> None:
    assert violations(replace(GOOD, accepted={})) == []
    assert violations(replace(GOOD, accepted={}, seen=[], told={})) == []


def test_a_start_a_millisecond_before_due_is_early() -> None:
    seen = [saw(Seen.STARTED, at=DUE - 0.001), saw(Seen.ENDED)]
    assert rules(replace(GOOD, seen=seen)) == {Rule.EARLY}


def test_a_retry_before_its_backoff_is_over_is_early() -> None:
    seen = [*RETRIED.seen[:2], saw(Seen.STARTED, 2, DUE + 0.3), RETRIED.seen[3]]
    assert rules(replace(RETRIED, seen=seen)) == {Rule.EARLY}


def test_an_attempt_number_that_starts_twice_is_repeated() -> None:
    assert rules(replace(GOOD, seen=[saw(Seen.STARTED), *GOOD.seen])) == {Rule.REPEATED}


def test_an_attempt_number_that_falls_back_is_repeated() -> None:
    first, failed, second, ended = RETRIED.seen
    late = replace(first, at=DUE + 0.6)
    assert rules(replace(RETRIED, seen=[second, ended, late, failed])) == {Rule.REPEATED}


def test_attempts_of_different_jobs_do_not_disturb_each_other() -> None:
    both = replace(
        GOOD,
        asked={**GOOD.asked, "b": Asked("b", DUE)},
        seen=[*GOOD.seen, *(replace(one, job_id="b") for one in GOOD.seen)],
        told={**GOOD.told, "b": told("succeeded", job_id="b")},
    )
    assert violations(both) == []


@pytest.mark.parametrize("missing", [0, 1], ids=["start", "end"])
def test_a_success_without_its_start_or_end_is_unwitnessed(missing: int) -> None:
    seen = [one for number, one in enumerate(GOOD.seen) if number != missing]
    assert rules(replace(GOOD, seen=seen)) == {Rule.UNWITNESSED}


def test_a_success_is_witnessed_by_its_own_attempt_only() -> None:
    seen = [*RETRIED.seen[:3], saw(Seen.ENDED, 1)]
    assert rules(replace(RETRIED, seen=seen)) == {Rule.UNWITNESSED}


@pytest.mark.parametrize(
    "story",
    [
        replace(told("succeeded"), attempt=2),
        replace(told("failed", "succeeded"), executions=[Ended(2, "succeeded")]),
        replace(told("succeeded"), executions=[Ended(1, "succeeded")] * 2),
        told("succeeded", "succeeded"),
        told("succeeded", status="cancelled"),
        told("failed"),
        told(),
    ],
    ids=["missing last", "missing first", "twice", "again", "disagrees", "no success", "none"],
)
def test_a_document_and_executions_that_differ_are_two_records(story: Told) -> None:
    seen = [*RETRIED.seen, saw(Seen.ENDED, 1, DUE + 1)]
    assert Rule.TWO_RECORDS in rules(replace(RETRIED, seen=seen, told={"a": story}))


def test_a_job_may_die_of_lost_workers_and_of_nothing_else() -> None:
    assert violations(replace(GOOD, told={"a": told("lost", "lost", "lost", status="dead")})) == []
    assert rules(replace(GOOD, told={"a": told("failed", status="dead")})) == {Rule.DIED}


def test_a_job_or_a_start_that_nobody_asked_for_is_found() -> None:
    stranger = told("cancelled", status="cancelled", job_id="b")
    assert rules(replace(GOOD, told={**GOOD.told, "b": stranger})) == {Rule.UNASKED}
    assert rules(replace(GOOD, seen=[*GOOD.seen, saw(Seen.STARTED, job_id="b")])) == {Rule.UNASKED}


def test_what_is_left_in_redis_is_found() -> None:
    assert rules(replace(GOOD, waiting_in_redis={"leased": ["a"]})) == {Rule.LEFT_OVER}


def test_an_orphan_is_found() -> None:
    assert rules(replace(GOOD, orphans=[Orphan("a", 1)])) == {Rule.ORPHANED}


def test_the_summary_counts_side_effects_that_happened_twice() -> None:
    twice = replace(
        RETRIED,
        asked={**RETRIED.asked, "b": Asked("b", DUE)},
        seen=[*RETRIED.seen, saw(Seen.STARTED, 3, DUE + 1), saw(Seen.ENDED, 3, DUE + 2)],
    )
    summary = summarise(twice)
    assert (summary.accepted, summary.unknown) == (1, 1)
    assert (summary.starts, summary.copies) == (3, 1)
    assert summary.longest_wait == pytest.approx(2)


def test_the_sink_keeps_what_was_written_and_drops_a_line_that_a_kill_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sink"
    monkeypatch.setenv(SINK, str(path))
    witness(Seen.STARTED, "a", 1)
    witness(Seen.ENDED, "a", 1)
    with path.open("a") as sink:
        sink.write("started b 1 10")
    assert [(one.seen, one.job_id, one.attempt) for one in read(path)] == [
        (Seen.STARTED, "a", 1),
        (Seen.ENDED, "a", 1),
    ]


def test_nothing_was_seen_where_nothing_was_written(tmp_path: Path) -> None:
    assert read(tmp_path / "sink") == []
