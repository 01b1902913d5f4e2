"""What is in MongoDB, in memory: a dictionary a collection."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pipeline.domain.errors import UnknownOutcome
from pipeline.domain.execution import Execution
from pipeline.domain.instants import from_ms, to_ms
from pipeline.domain.job import Job
from pipeline.domain.limits import Limit
from pipeline.domain.states import Event, sources_of
from pipeline.ports import Clock
from tests.fakes.faults import Faulty


class JobCollections(Faulty):
    """`prints` are the fingerprints of keyed jobs, buried ones too."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("MongoDB")
        self._clock = clock
        self.jobs: dict[str, Job] = {}
        self.tombs: dict[str, datetime] = {}
        self.prints: dict[str, str] = {}
        self.records: dict[str, Execution] = {}
        self.paused: set[str] = set()
        self.limits: dict[str, Limit] = {}
        self.known_queues: set[str] = set()

    def fail(self, method: str, *, applied: bool) -> None:
        """The next call of `method` has an unknown outcome: applied before it failed, or not."""
        self.fail_next(method, UnknownOutcome, applied=applied)

    def _now(self) -> datetime:
        """MongoDB keeps milliseconds."""
        return from_ms(to_ms(self._clock.now()))

    def _in(self, event: Event) -> Sequence[Job]:
        return [job for job in self.jobs.values() if job.state in sources_of(event)]

    def _put(self, job: Job, **change: Any) -> Job:
        self.jobs[job.id] = replace(job, **change)
        return self.jobs[job.id]
