"""From what is asked to what is accepted: identity, publish, and the answer to "is it in?".

Accepted means that RabbitMQ has confirmed it (R1). With a key, the store is asked first and read
back after, because two first requests under one key may pass each other (H26): the one that finds
the other's job stored under its id is told, not silently dropped.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from gateway.asked import Asked, Refusal
from gateway.batch import Batch
from gateway.coalescer import Coalescer
from gateway.deps import GatewayDeps
from gateway.keys import id_in_batch, objection
from gateway.patience import appears
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.identity import fingerprint
from pipeline.domain.instants import whole_ms_up
from pipeline.domain.job import Job, Kind, Submission
from pipeline.domain.states import FINAL_STATES, State
from pipeline.ports import Standing
from pipeline.telemetry import SUBMITTED

_BY_KIND = {kind: SUBMITTED.labels(kind) for kind in Kind}
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_READ_BACK_EACH = timedelta(milliseconds=0.5)
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

    async def accept(self, submission: Submission) -> State:
        """Publish unless it is known; the state it has, or will be stored with.

        Raises as `publish`; with a key, `Rejected` if that names another job or a deleted one,
        `UnknownOutcome` if it cannot be read back in time.
        """
        if submission.keyed:
            return await self._accept_keyed(submission)
        await self.publish((submission,))
        return first_state(submission)

    async def _accept_keyed(self, submission: Submission) -> State:
        mine = fingerprint(submission.body)
        known = (await self._deps.store.standing([submission.id])).get(submission.id)
        if known is None:
            await self.publish([submission])
            stands = (await self._read_back([submission.id]))[submission.id]
        else:
            stands = known
        if error := objection(mine, stands):
            raise error
        return first_state(submission) if known is None else known.state

    async def publish_batch(self, batch: Batch) -> None:
        """Publish what is new of it. What has a key is read back and may be refused after all.

        Raises `UnknownOutcome` as `accept` does.
        """
        if not batch.new:
            return
        await self.publish(batch.new)
        keyed = [submission.id for submission in batch.new if submission.keyed]
        if keyed:
            batch.refuse(await self._read_back(keyed))

    async def _read_back(self, job_ids: Sequence[str]) -> Mapping[str, Standing]:
        """What stands under these ids. In doubt until then: they were confirmed, but whether it is
        these jobs that stand is not known. Thousands take ingest longer than one."""
        found: dict[str, Standing] = {}

        async def look() -> Mapping[str, Standing] | None:
            missing = [job_id for job_id in job_ids if job_id not in found]
            found.update(await self._deps.store.standing(missing))
            return found if len(found) == len(job_ids) else None

        within = self._deps.limits.readable_within + len(job_ids) * _READ_BACK_EACH
        try:
            seen = await appears(look, within, self._deps.clock)
        except Unavailable as error:
            raise UnknownOutcome("MongoDB", f"accepted, but not read back: {error}") from error
        if seen is None:
            raise UnknownOutcome("MongoDB", "accepted, but it cannot be read back yet")
        return seen

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
            batch.sift(await self._deps.store.standing(list(batch.keyed)))
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
