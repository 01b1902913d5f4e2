"""The checker: from the history of a run alone, what DueQ broke of its word. Pure.

The rules are the promise, not the protocol: they would be the same for any scheduler. The one
exception is `ORPHANED`, which looks inside: whoever dies, the reaper must be able to find his job,
and it finds jobs by their leases.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from tests.chaos.history import History, Told
from tests.chaos.sink import Seen, Sighting

FINAL = {"succeeded", "dead", "cancelled"}
MOST_LOSSES = 3
"""After so many losses a job may be dead as poison."""
MONGODB_CUT = 0.002
"""A retry's due time is reckoned by MongoDB's clock, which is cut to milliseconds."""


class Rule(StrEnum):
    """What must never happen."""

    LOST = "an accepted job is not in a final state"
    EARLY = "a job started before it was due"
    REPEATED = "the attempts of a job do not grow from start to start"
    UNWITNESSED = "a success that nobody saw run"
    TWO_RECORDS = "a job's document and its executions do not make one record"
    DIED = "a job is dead that had attempts left"
    UNASKED = "there is a job that nobody asked for"
    LEFT_OVER = "Redis still holds a job when all are final"
    ORPHANED = "an end is recorded, not settled, and no lease of it can run out"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule; `subject` is a job id, or a key of Redis."""

    rule: Rule
    subject: str
    detail: str


def violations(history: History) -> Sequence[Violation]:
    """Everything that is wrong with it; empty if it kept its word."""
    return [violation for check in _CHECKS for violation in check(history)]


def _lost(history: History) -> Iterator[Violation]:
    for job_id in history.accepted:
        told = history.told.get(job_id)
        if told is None:
            yield Violation(Rule.LOST, job_id, "there is no such job")
        elif told.status not in FINAL:
            yield Violation(Rule.LOST, job_id, f"is {told.status}, attempt {told.attempt}")


def _early(history: History) -> Iterator[Violation]:
    failed_at: dict[str, float] = {}
    for sighting in history.seen:
        asked = history.asked.get(sighting.job_id)
        if asked is None:
            continue
        if sighting.seen is Seen.FAILED:
            failed_at[asked.job_id] = sighting.at
        elif sighting.seen is Seen.STARTED:
            again_at = failed_at.get(asked.job_id, 0.0) + asked.backoff - MONGODB_CUT
            early = max(asked.due_at, again_at) - sighting.at
            if early > 0:
                detail = f"attempt {sighting.attempt}, {early * 1000:.3f} ms"
                yield Violation(Rule.EARLY, asked.job_id, detail)


def _repeated(history: History) -> Iterator[Violation]:
    for job_id, starts in _starts(history).items():
        for before, after in pairwise(starts):
            if after.attempt <= before.attempt:
                detail = f"attempt {after.attempt} started after attempt {before.attempt}"
                yield Violation(Rule.REPEATED, job_id, detail)


def _unwitnessed(history: History) -> Iterator[Violation]:
    seen = {(one.seen, one.job_id, one.attempt) for one in history.seen}
    for told in history.told.values():
        for execution in told.executions:
            if execution.outcome == "succeeded":
                for needed in (Seen.STARTED, Seen.ENDED):
                    if (needed, told.job_id, execution.attempt) not in seen:
                        detail = f"attempt {execution.attempt} was never seen {needed}"
                        yield Violation(Rule.UNWITNESSED, told.job_id, detail)


def _two_records(history: History) -> Iterator[Violation]:
    for told in history.told.values():
        if told.status in FINAL and (flaw := _flaw_of_record(told)):
            yield Violation(Rule.TWO_RECORDS, told.job_id, flaw)


def _flaw_of_record(told: Told) -> str | None:
    attempts = [execution.attempt for execution in told.executions]
    outcomes = [execution.outcome for execution in told.executions]
    if attempts != list(range(1, told.attempt + 1)):
        return f"attempt {told.attempt}, but executions {attempts}"
    if {"succeeded", "cancelled"}.intersection(outcomes[:-1]):
        return f"went on after its end: {outcomes}"
    last = outcomes[-1] if outcomes else None
    agrees = (last == told.status) if told.status != "dead" else last in (None, *_LEADS_TO_DEATH)
    return None if agrees else f"is {told.status}, but its last execution {last}"


_LEADS_TO_DEATH = ("failed", "timed_out", "lost")


def _died(history: History) -> Iterator[Violation]:
    """No job of these tests fails often enough to die; only lost workers may take it down."""
    for told in history.told.values():
        losses = sum(execution.outcome == "lost" for execution in told.executions)
        if told.status == "dead" and losses < MOST_LOSSES:
            yield Violation(Rule.DIED, told.job_id, f"after {losses} losses")


def _unasked(history: History) -> Iterator[Violation]:
    for job_id in history.told.keys() - history.asked.keys():
        yield Violation(Rule.UNASKED, job_id, f"is {history.told[job_id].status}")
    for job_id in _starts(history).keys() - history.asked.keys():
        yield Violation(Rule.UNASKED, job_id, "was started")


def _left_over(history: History) -> Iterator[Violation]:
    for key, members in history.waiting_in_redis.items():
        if members:
            yield Violation(Rule.LEFT_OVER, key, f"{len(members)}, such as {members[0]}")


def _orphaned(history: History) -> Iterator[Violation]:
    for orphan in history.orphans:
        yield Violation(Rule.ORPHANED, orphan.job_id, f"attempt {orphan.attempt}")


def _starts(history: History) -> dict[str, list[Sighting]]:
    starts: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in history.seen:
        if sighting.seen is Seen.STARTED:
            starts[sighting.job_id].append(sighting)
    return starts


_CHECKS: Sequence[Callable[[History], Iterator[Violation]]] = (
    _lost,
    _early,
    _repeated,
    _unwitnessed,
    _two_records,
    _died,
    _unasked,
    _left_over,
    _orphaned,
)
