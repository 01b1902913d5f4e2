"""What a receiver gets against duplicates: the job's id, stable, and the attempt, which only grows.

A receiver that remembers the highest attempt of a job can refuse a stale worker.
"""

from pipeline.domain.job import Job


def fence_headers(job: Job) -> dict[str, str]:
    """Headers for HTTP and AMQP."""
    headers = {
        "Idempotency-Key": job.id,
        "DueQ-Job-Id": job.id,
        "DueQ-Attempt": str(job.attempt),
        "DueQ-Scheduled-At": job.due_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if job.traceparent is not None:
        headers["traceparent"] = job.traceparent
    return headers


def fence_environment(job: Job) -> dict[str, str]:
    """Variables for commands."""
    return {"DUEQ_JOB_ID": job.id, "DUEQ_ATTEMPT": str(job.attempt)}
