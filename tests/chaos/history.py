"""What a run leaves behind, from three sides that know nothing of each other.

The client wrote down what it asked for and what was answered; the sink what ran; DueQ tells over
HTTP what became of each job. `checker` compares them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.sink import Sighting


@dataclass(frozen=True, slots=True)
class Asked:
    """One job as the client asked for it; times are Unix seconds.

    `due_at` is the instant before which it must not start, `backoff` the shortest time between a
    failed attempt and the next one.
    """

    job_id: str
    due_at: float
    backoff: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """One execution, as DueQ tells it."""

    attempt: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Told:
    """One job, as DueQ tells it in the end, with its executions, oldest first."""

    job_id: str
    status: str
    attempt: int
    executions: Sequence[Ended]


@dataclass(frozen=True, slots=True)
class Orphan:
    """Seen when its worker had died: recorded, still `running`, and nowhere in Redis."""

    job_id: str
    attempt: int


@dataclass(frozen=True)
class History:
    """All of it. `asked` also holds jobs whose answer never came; `accepted` is a part of it."""

    asked: Mapping[str, Asked]
    accepted: Mapping[str, float]
    """When each of these was answered 202, or confirmed over AMQP."""
    seen: Sequence[Sighting]
    told: Mapping[str, Told]
    waiting_in_redis: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What is left in each key in the end."""
    orphans: Sequence[Orphan] = ()
