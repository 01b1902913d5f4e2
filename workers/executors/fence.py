"""What a receiver gets against duplicates: the job's id, stable, and the attempt, which only grows.

A receiver that remembers the highest attempt of a job can refuse a stale worker. The job of a
schedule also says which fire time it stands for: one that was caught up runs long after it.
"""

from pipeline.domain.instants import rfc3339
from pipeline.domain.job import Job


def fence_headers(job: Job) -> dict[str, str]:
    """Headers for HTTP and AMQP."""
    headers = {
        "Idempotency-Key": job.id,
        "DueQ-Job-Id": job.id,
        "DueQ-Attempt": str(job.attempt),
        "DueQ-Scheduled-At": rfc3339(job.due_at),
    }
    if job.schedule_id is not None:
        headers["DueQ-Schedule-Id"] = job.schedule_id
    if job.fire_time is not None:
        headers["DueQ-Fire-Time"] = rfc3339(job.fire_time)
    if job.traceparent is not None:
        headers["traceparent"] = job.traceparent
    return headers


def is_fence(header: str) -> bool:
    """Whether a header of this name is ours, also where a job has nothing to put in it: a job
    without a schedule must not be taken for one of a schedule."""
    return header.lower().startswith("dueq-")


def fence_environment(job: Job) -> dict[str, str]:
    """Variables for commands."""
    environment = {"DUEQ_JOB_ID": job.id, "DUEQ_ATTEMPT": str(job.attempt)}
    if job.schedule_id is not None:
        environment["DUEQ_SCHEDULE_ID"] = job.schedule_id
    if job.fire_time is not None:
        environment["DUEQ_FIRE_TIME"] = rfc3339(job.fire_time)
    return environment
