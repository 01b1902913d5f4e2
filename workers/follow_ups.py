"""Jobs that jobs submit: through RabbitMQ, as everybody's; durable before they are answered.

The id is fixed first, so that a publish whose confirm did not come is simply repeated (R2).
"""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.domain.body import read_spec
from pipeline.domain.identity import id_of_key
from pipeline.domain.job import Job, Submission
from pipeline.ports import Chance, Clock, Intake
from pipeline.telemetry import SUBMITTED
from workers.asked import body_of
from workers.patience import Patience


class FollowUps:
    """Submits on behalf of jobs that run here."""

    def __init__(self, intake: Intake, clock: Clock, chance: Chance) -> None:
        self._intake = intake
        self._clock = clock
        self._chance = chance
        self._patience = Patience(clock, chance)

    async def submit(self, job: Job, asked: Mapping[str, Any]) -> str:
        """The id of the job that `job` asks for. Waits for RabbitMQ as long as it takes.

        Raises `Rejected`. The new job belongs to the same trace.
        """
        submission = self._submission(job, body_of(asked))

        async def publish() -> None:
            await self._intake.publish([submission])

        await self._patience.persist("submit", publish, until=math.inf)
        SUBMITTED.labels(submission.spec.kind).inc()
        return submission.id

    def _submission(self, job: Job, body: dict[str, Any]) -> Submission:
        spec = read_spec(body)
        key = spec.idempotency_key
        return Submission(
            id=self._chance.job_id() if key is None else id_of_key(key),
            accepted_at=self._clock.now(),
            spec=spec,
            body=body,
            keyed=key is not None,
            traceparent=job.traceparent,
        )
