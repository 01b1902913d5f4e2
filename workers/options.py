"""What one worker is and stands on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from pipeline.ports import Chance, Clock, JobStore, LeaseQueue


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """`id` is random and new for every process start: a host name would name two of them.

    `drain` is how long a stopping worker waits for what runs. `backlog` bounds the attempts whose
    code has ended and whose record is not written yet: an outage of MongoDB must not fill memory.
    """

    id: str
    queues: Sequence[str]
    concurrency: int = 100
    lease: timedelta = timedelta(seconds=30)
    drain: timedelta = timedelta(seconds=10)
    backlog: int = 1000
    weights: Mapping[str, int] = field(default_factory=dict)
    """How slots are shared by queues that both have work; 1 for those that are not named."""
    version: str = ""

    @property
    def trust(self) -> float:
        """Seconds after sending a lease or extend call for which we may rely on it (R8).

        The margin covers the stop itself and clocks that do not run equally fast.
        """
        return self.lease.total_seconds() * 0.9

    @property
    def beat(self) -> float:
        """Seconds from one heartbeat to the next."""
        return self.lease.total_seconds() / 3


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports a worker talks to, and nothing else."""

    store: JobStore
    queue: LeaseQueue
    clock: Clock
    chance: Chance
