"""What is asked of jobs in MongoDB: conditions, the indexes that tell, a part of a list's order.

Every condition is an equality or a range with exact bounds in an index. Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.domain.job import FIRST_INSTANT
from pipeline.domain.states import State
from pipeline.ports import JobFilter, Position
from pipeline.store import indexes
from pipeline.store.connect import Document

_LAST_POINT, _BEFORE_SURROGATES, _AFTER_SURROGATES = 0x10FFFF, 0xD7FF, 0xE000


@dataclass(frozen=True, slots=True)
class Source:
    """An index and what is asked of it. `in_order`: it has the jobs in the order of the list; else
    they are sorted, by its keys alone if it `covers` the order."""

    index: str
    condition: Document
    in_order: bool = True
    covers: bool = True


def span(newest: Position | None, oldest: Position) -> Document | None:
    """Strictly after `newest`, down to `oldest` itself; None: there is nothing between the two.

    At both ends jobs may have one and the same instant, so each is a branch of its own, and each
    branch has exact bounds in an index.
    """
    branches: list[Document] = []
    inside: Document = {"$gt" if oldest[1] else "$gte": oldest[0]}
    if newest is not None:
        inside["$lt"] = newest[0]
        ids: Document = {"$lt": newest[1]}
        if newest[0] == oldest[0]:
            ids["$gte"] = oldest[1]
        if newest[1] and newest[0] >= oldest[0]:
            branches.append({"created_at": newest[0], "_id": ids})
    if newest is None or newest[0] > oldest[0]:
        branches.append({"created_at": inside})
        if oldest[1]:
            branches.append({"created_at": oldest[0], "_id": {"$gte": oldest[1]}})
    if not branches:
        return None
    return branches[0] if len(branches) == 1 else {"$or": branches}


def in_states(states: Iterable[State]) -> Document:
    """The condition on the field `state`: one of these."""
    return {"$in": sorted(state.value for state in states)}


def condition_of(wanted: JobFilter) -> Document:
    """What a job has to have, but for its place in the order; tombstones have no such place."""
    fields = {
        "queue": wanted.queue,
        "kind": wanted.kind.value if wanted.kind else None,
        "spec.name": wanted.name,
        "spec.tags": wanted.tag,
        "schedule_id": wanted.schedule_id,
    }
    condition: Document = {
        name: {"$eq": value} for name, value in fields.items() if value is not None
    }
    if wanted.q:
        condition.setdefault("spec.name", {}).update(starting(wanted.q))
    if wanted.states:
        condition["state"] = in_states(wanted.states)
    return condition


def starting(text: str) -> Document:
    """A range, from the text to the first that no longer starts with it; by code points, as MongoDB
    compares. No pattern: what a user writes is never run."""
    for place in range(len(text) - 1, -1, -1):
        point = ord(text[place])
        if point < _LAST_POINT:
            following = _AFTER_SURROGATES if point == _BEFORE_SURROGATES else point + 1
            return {"$gte": text, "$lt": text[:place] + chr(following)}
    return {"$gte": text}


def sources_for(wanted: JobFilter) -> Sequence[Source]:
    """The indexes that can be asked, what is usually the rarest first; the first is in order."""
    found = list(_equal(wanted))
    if not found:
        found.append(Source(indexes.BY_CREATION, {}))
    for state in wanted.states:
        found += _unordered(state)
    if wanted.q:
        found.append(Source(indexes.BY_NAME, {"spec.name": starting(wanted.q)}, in_order=False))
    return found


def _equal(wanted: JobFilter) -> Iterator[Source]:
    """Equality on the first field of an index: what is left of it is the order of the list."""
    if wanted.schedule_id is not None:
        yield Source(indexes.OF_SCHEDULE, {"schedule_id": {"$eq": wanted.schedule_id}})
    if wanted.name is not None:
        yield Source(indexes.BY_NAME, {"spec.name": {"$eq": wanted.name}})
    if wanted.tag is not None:
        yield Source(indexes.BY_TAG, {"spec.tags": {"$eq": wanted.tag}})
    for state in wanted.states & indexes.LISTED_STATES:
        yield Source(indexes.BY_STATE, {"state": state.value})
    if wanted.queue not in (None, indexes.USUAL_QUEUE):
        yield Source(indexes.BY_QUEUE, {"queue": {"$eq": wanted.queue}})
    if wanted.kind not in (None, indexes.USUAL_KIND):
        yield Source(indexes.BY_KIND, {"kind": {"$eq": wanted.kind}})


def _unordered(state: State) -> Iterator[Source]:
    """Indexes of others, in another order: worth it when they hold few."""
    others = {
        State.QUEUED: (indexes.QUEUED_BY_TIME, "queued_at", True),
        State.RUNNING: (indexes.RUNNING_BY_TIME, "started_at", True),
        State.SUCCEEDED: (indexes.FINAL_BY_END, "finished_at", False),
    }
    if state in others:
        index, field, covers = others[state]
        condition = {"state": state.value, field: {"$gte": FIRST_INSTANT}}
        yield Source(index, condition, in_order=False, covers=covers)
