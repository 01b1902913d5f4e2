"""From what is asked to what is accepted: identity, publish, and the answer to "is it in?".

Accepted means that RabbitMQ has confirmed it (R1). With a key, the store is asked first and read
back after, because two first requests under one key may pass each other (H26): the one that finds
the other's job stored under its id is told, not silently dropped.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from gateway.asked import Asked, Refusal
from gateway.batch import Batch
from gateway.coalescer import Coalescer
from gateway.deps import GatewayDeps
from gateway.keys import check_same, id_in_batch
from gateway.patience import appears
from pipeline.domain.errors import UnknownOutcome
from pipeline.domain.instants import whole_ms_up
from pipeline.domain.job import Job, Kind, Submission
from pipeline.domain.states import FINAL_STATES, State
from pipeline.telemetry import SUBMITTED

_BY_KIND = {kind: SUBMITTED.labels(kind) for kind in Kind}
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
YIELD_EVERY = 500
"""So many jobs of a batch are read in one go before other requests get a turn."""


class Acceptance:
    """Gives jobs their identity and sees them into RabbitMQ."""

    def __init__(
        self, deps: GatewayDeps, coalescer: Coalescer, stopping: Callable[[], bool]
    ) -> None:
        self._deps = deps
        self._coalescer = coalescer
        self._stopping = stopping

    def submission(self, asked: Asked, job_id: str | None, traceparent: str | None) -> Submission:
        """What is asked, accepted now; without an id of its own it gets a fresh one."""
        return Submission(
            id=job_id or self._deps.chance.job_id(),
            accepted_at=self._deps.clock.now(),
            spec=asked.spec,
            body=asked.body,
            keyed=job_id is not None,
            traceparent=traceparent,
        )

    async def publish(self, submissions: Sequence[Submission]) -> None:
        """Return when RabbitMQ has confirmed them; raises as `Intake.publish`."""
        await self._coalescer.publish(submissions)
        if len(submissions) == 1:
            _BY_KIND[submissions[0].spec.kind].inc()
            return
        for kind, count in Counter(each.spec.kind for each in submissions).items():
            _BY_KIND[kind].inc(count)

    async def publish_keyed(self, submission: Submission, asked: Asked) -> State:
        """Publish unless it is known; the state it has, or will be stored with.

        Raises `Rejected` if the key names another job, `UnknownOutcome` if it cannot be read back
        in time: it was confirmed, but whether it is this job that stands is not known yet.
        """
        known = await self._deps.store.fingerprint_of(submission.id)
        if known is not None:
            check_same(asked, known)
            job = await self._deps.store.get(submission.id)
            return job.state if job else first_state(submission)
        await self.publish([submission])
        stored = await appears(
            lambda: self._deps.store.fingerprint_of(submission.id),
            self._deps.limits.readable_within,
            self._deps.clock,
        )
        if stored is None:
            raise UnknownOutcome("MongoDB", "the job is accepted but cannot be read back yet")
        check_same(asked, stored)
        return first_state(submission)

    async def identify(
        self, elements: Iterable[Asked | Refusal], header: str | None, traceparent: str | None
    ) -> Batch:
        """Sort a batch into new, known and refused; with keys, may raise `Unavailable`."""
        batch = Batch()
        for number, element in enumerate(elements):
            if number % YIELD_EVERY == YIELD_EVERY - 1:
                await self._deps.clock.sleep(0)
            if isinstance(element, Refusal):
                batch.refused.append(element)
            else:
                job_id = id_in_batch(header, element)
                batch.add(element, self.submission(element, job_id, traceparent))
        if batch.keyed:
            batch.sift(await self._deps.store.get_many(list(batch.keyed)))
        return batch

    async def finished(self, job_id: str, wait_seconds: int) -> Job | None:
        """The job when it has ended; None if it has not in time, or before this process stops."""
        within = min(self._deps.limits.wait, timedelta(seconds=wait_seconds))
        return await appears(
            lambda: self._final(job_id), within, self._deps.clock, given_up=self._stopping
        )

    async def _final(self, job_id: str) -> Job | None:
        job = await self._deps.store.get(job_id)
        return job if job is not None and job.state in FINAL_STATES else None


def first_state(submission: Submission) -> State:
    """The state that ingest will store it in: `queued` if it is due by then.

    Due times are whole milliseconds, rounded up: "now" is up to one later than accepted.
    """
    due_by_then = submission.due_at <= whole_ms_up(submission.accepted_at)
    return State.QUEUED if due_by_then else State.PENDING


def read_traceparent(header: bytes | None) -> str | None:
    """The W3C trace context, if it is one; anything else is ignored, as that standard asks."""
    return header.decode() if header and _TRACEPARENT.fullmatch(header) else None
