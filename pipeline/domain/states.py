"""The states of a job and every way from one to another: the only statement of the machine.

Store filters, the drawing in the docs and the exhaustive test are made from `TRANSITIONS`;
nothing else may say which state follows which.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a job is. A crash leaves a job in the state it had; the comment tells who goes on."""

    PENDING = "pending"
    """Stored, waits for `due_at`. The dispatcher of any watcher takes it on."""
    QUEUED = "queued"
    """Must be in Redis. A worker starts it; the reconciler adds it where it is missing."""
    RUNNING = "running"
    """One worker won the start. That worker ends it, or the reaper when its lease runs out."""
    SUCCEEDED = "succeeded"
    """Final: its code returned."""
    DEAD = "dead"
    """Final until an operator redrives it: `reason` tells why."""
    CANCELLED = "cancelled"
    """Final until an operator redrives it: somebody asked."""
    BURIED = "buried"
    """A tombstone: deleted, hidden from every list, kept so that no redelivery revives the job."""


class Event(StrEnum):
    """What can happen to a job. One event, one verb, one conditional write."""

    DISPATCH = "dispatch"
    START = "start"
    SUCCEED = "succeed"
    RETRY = "retry"
    LOSE = "lose"
    RELEASE = "release"
    DIE = "die"
    CANCEL = "cancel"
    EXPIRE = "expire"
    CHANGE = "change"
    """Its owner changes what is asked for, or when. What was queued has to be dispatched anew."""
    REDRIVE = "redrive"
    BURY = "bury"


TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.PENDING, Event.DISPATCH): State.QUEUED,
        (State.QUEUED, Event.START): State.RUNNING,
        (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
        (State.RUNNING, Event.RETRY): State.PENDING,
        (State.RUNNING, Event.LOSE): State.PENDING,
        (State.RUNNING, Event.RELEASE): State.PENDING,
        (State.RUNNING, Event.DIE): State.DEAD,
        (State.RUNNING, Event.CANCEL): State.CANCELLED,
        (State.PENDING, Event.CANCEL): State.CANCELLED,
        (State.QUEUED, Event.CANCEL): State.CANCELLED,
        (State.PENDING, Event.EXPIRE): State.DEAD,
        (State.QUEUED, Event.EXPIRE): State.DEAD,
        (State.PENDING, Event.CHANGE): State.PENDING,
        (State.QUEUED, Event.CHANGE): State.PENDING,
        (State.DEAD, Event.REDRIVE): State.PENDING,
        (State.CANCELLED, Event.REDRIVE): State.PENDING,
        (State.PENDING, Event.BURY): State.BURIED,
        (State.QUEUED, Event.BURY): State.BURIED,
        (State.SUCCEEDED, Event.BURY): State.BURIED,
        (State.DEAD, Event.BURY): State.BURIED,
        (State.CANCELLED, Event.BURY): State.BURIED,
    }
)

FIRST_STATES = frozenset({State.PENDING, State.QUEUED})
"""What ingest may store a new job as: `queued` when it is already due (R4)."""

FINAL_STATES = frozenset({State.SUCCEEDED, State.DEAD, State.CANCELLED})
VISIBLE_STATES = frozenset(State) - {State.BURIED}


def sources_of(event: Event) -> frozenset[State]:
    """The states that `event` may happen in: the filter of its conditional write."""
    return frozenset(state for state, happened in TRANSITIONS if happened is event)


def target_of(event: Event) -> State:
    """The one state that `event` leads to, wherever it happens."""
    (target,) = {after for (_, happened), after in TRANSITIONS.items() if happened is event}
    return target
