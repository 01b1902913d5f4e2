"""How stored things look in an answer: plain JSON values, UTC with `Z`, milliseconds.

A job answers with what was asked for, the defaults of what was not, and what became of it.
"""

from datetime import datetime, timedelta
from typing import Any

import orjson
from starlette.responses import Response

from pipeline.domain.execution import ErrorInfo, Execution
from pipeline.domain.job import HttpWork, Job, JobSpec
from pipeline.domain.retry import RetryPolicy
from pipeline.domain.states import State
from pipeline.ports import Peeked, QueueView, WorkerView

_DEFAULTS = JobSpec().model_dump(
    mode="json", include={"name", "queue", "priority", "timeout", "on_lost", "tags"}
)
_RETRY = RetryPolicy().model_dump(mode="json")
_HTTP = HttpWork(url="http://localhost").model_dump(
    mode="json", include={"method", "headers", "timeout", "success"}
)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The value as JSON."""
    return Response(orjson.dumps(value), status, headers=headers, media_type="application/json")


def instant(value: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond, with `Z`."""
    if value is None:
        return None
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def last_attempt(job: Job) -> int:
    """The attempt whose record tells result and last error: a running one has none yet."""
    return job.attempt - 1 if job.state is State.RUNNING else job.attempt


def render_job(job: Job, last: Execution | None) -> dict[str, Any]:
    """A job; `last` is the record of `last_attempt`, if there is one."""
    return {
        "id": job.id,
        "status": job.state,
        "kind": job.spec.kind,
        **_DEFAULTS,
        **job.body,
        **_completed(job.body),
        "due_at": instant(job.due_at),
        "attempt": job.attempt,
        "failures": job.failures,
        "created_at": instant(job.created_at),
        "started_at": instant(job.started_at),
        "finished_at": instant(job.finished_at),
        "worker": job.worker,
        "result": last.result if last else None,
        "last_error": render_error(last.error) if last else None,
        "schedule_id": job.schedule_id,
        "reason": job.reason,
    }


def _completed(body: dict[str, Any]) -> dict[str, Any]:
    """The objects inside a job, with the defaults of what was not asked for."""
    whole: dict[str, Any] = {"retry": _RETRY | (body.get("retry") or {})}
    if body.get("http"):
        whole["http"] = _HTTP | body["http"]
    return whole


def render_error(error: ErrorInfo | None) -> dict[str, Any] | None:
    """`{type, message, detail}`."""
    if error is None:
        return None
    return {"type": error.type, "message": error.message, "detail": error.detail}


def render_execution(execution: Execution) -> dict[str, Any]:
    """An attempt; what its kind adds (HTTP status, exit code, …) stands beside the rest."""
    return {
        **execution.report,
        "job_id": execution.job_id,
        "attempt": execution.attempt,
        "outcome": execution.outcome,
        "worker": execution.worker,
        "queued_at": instant(execution.queued_at),
        "started_at": instant(execution.started_at),
        "finished_at": instant(execution.finished_at),
        "result": execution.result,
        "error": render_error(execution.error),
    }


def render_queue(view: QueueView) -> dict[str, Any]:
    """Counts, and the oldest wait in seconds."""
    return {
        "name": view.name,
        "delayed": view.delayed,
        "ready": view.ready,
        "leased": view.leased,
        "paused": view.paused,
        "oldest_wait": seconds(view.oldest_wait),
    }


def render_peeked(peeked: Peeked) -> dict[str, Any]:
    """A waiting job."""
    return {
        "id": peeked.job_id,
        "priority": peeked.priority,
        "due_at": instant(peeked.due_at),
        "ready": peeked.ready,
    }


def render_worker(view: WorkerView) -> dict[str, Any]:
    """What a worker says of itself."""
    return {
        **view.extra,
        "id": view.id,
        "host": view.host,
        "pid": view.pid,
        "queues": list(view.queues),
        "concurrency": view.concurrency,
        "running": view.running,
        "started_at": instant(view.started_at),
    }


def seconds(duration: timedelta) -> float:
    """To the millisecond."""
    return round(duration.total_seconds(), 3)
