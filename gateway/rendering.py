"""How stored things look in an answer: plain JSON values, UTC with `Z`, milliseconds.

A job answers with what was asked for, the defaults of what was not, and what became of it.
"""

from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from starlette.responses import Response

from pipeline.domain.execution import ErrorInfo, Execution
from pipeline.domain.http_work import HttpWork
from pipeline.domain.instants import rfc3339
from pipeline.domain.job import Job, JobSpec, Submission
from pipeline.domain.preview import ClockChange, PreviewedFire
from pipeline.domain.retry import RetryPolicy
from pipeline.domain.schedule import Schedule, ScheduleSpec
from pipeline.domain.secret import shown_job
from pipeline.domain.states import State
from pipeline.ports import LiveNote, Peeked, QueueView, SickTarget, Skipped, WatcherView, WorkerView

_DEFAULTS = JobSpec().model_dump(
    mode="json", include={"name", "queue", "priority", "timeout", "on_lost", "tags"}
)
_RETRY = RetryPolicy().model_dump(mode="json")
_HTTP = HttpWork(url="http://localhost").model_dump(
    mode="json", include={"method", "headers", "timeout", "success"}
)

_SCHEDULE = ScheduleSpec(every=1).model_dump(mode="json", exclude={"cron", "every", "job"})


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The value as JSON."""
    return Response(orjson.dumps(value), status, headers=headers, media_type="application/json")


def instant(value: datetime | None) -> str | None:
    """`rfc3339`, of one that may be missing."""
    return None if value is None else rfc3339(value)


def last_attempt(job: Job) -> int:
    """The attempt whose record tells result and last error: a running one has none yet."""
    return job.attempt - 1 if job.state is State.RUNNING else job.attempt


def render_job(job: Job, last: Execution | None, live: LiveNote | None = None) -> dict[str, Any]:
    """A job; `last` is the record of `last_attempt`, `live` what a running one has told."""
    shown = shown_job(job.body)
    return {
        "id": job.id,
        "status": job.state,
        "kind": job.spec.kind,
        **_DEFAULTS,
        **shown,
        **_completed(shown),
        "due_at": instant(job.due_at),
        "attempt": job.attempt,
        "failures": job.failures,
        "created_at": instant(job.created_at),
        "started_at": instant(job.started_at),
        "finished_at": instant(job.finished_at),
        "worker": job.worker,
        "result": last.result if last else None,
        "last_error": render_error(last.error) if last else None,
        "progress": _progress(job, last, live),
        "schedule_id": job.schedule_id,
        "fire_time": instant(job.fire_time),
        "reason": job.reason,
    }


def _progress(job: Job, last: Execution | None, live: LiveNote | None) -> dict[str, Any] | None:
    """`{fraction, note}`: of a running attempt what it tells, else where the last one ended."""
    if job.state is not State.RUNNING:
        return last.report.get("progress") if last else None
    if live is None or live.progress is None:
        return None
    return {"fraction": live.progress.fraction, "note": live.progress.note}


def accepted(submission: Submission, status: State) -> Response:
    """202: a job that RabbitMQ has confirmed."""
    told = {
        "id": submission.id,
        "status": status,
        "kind": submission.spec.kind,
        "queue": submission.spec.queue,
        "due_at": instant(submission.due_at),
    }
    return json_response(told, 202, {"Location": f"/api/jobs/{submission.id}"})


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


def render_sick(target: SickTarget, queue: str) -> dict[str, Any]:
    """A target that the http jobs of `queue` wait for."""
    return {
        "target": target.origin,
        "since": instant(target.since),
        "probe_at": instant(target.probe_at),
        "failed_probes": target.failed_probes,
        "error": target.error,
        "held": target.held[queue],
    }


def render_peeked(peeked: Peeked) -> dict[str, Any]:
    """A waiting job."""
    return {
        "id": peeked.job_id,
        "priority": peeked.priority,
        "due_at": instant(peeked.due_at),
        "ready": peeked.ready,
        "waits_for": peeked.waits_for,
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
        "last_seen_at": instant(view.last_seen_at),
    }


def render_watcher(view: WatcherView) -> dict[str, Any]:
    """What a watcher says of itself."""
    return {
        "id": view.id,
        "host": view.host,
        "pid": view.pid,
        "version": view.version,
        "started_at": instant(view.started_at),
        "last_seen_at": instant(view.last_seen_at),
    }


def seconds(duration: timedelta) -> float:
    """To the millisecond."""
    return round(duration.total_seconds(), 3)


def render_schedule(schedule: Schedule) -> dict[str, Any]:
    """What was asked for, the defaults of what was not, and where it stands.

    `last_fire_at` is the last fire time that was decided on: it has a job, or was skipped.
    """
    spec = schedule.spec
    return {
        "id": schedule.id,
        **_SCHEDULE,
        **schedule.body,
        "job": shown_job(schedule.body.get("job") or {}),
        "in_words": schedule.in_words(),
        "next_fire_at": None if spec.paused else instant(schedule.next_fire_at),
        "last_fire_at": instant(schedule.fired_until),
        "version": schedule.version,
        "created_at": instant(schedule.created_at),
        "updated_at": instant(schedule.updated_at),
    }


def render_fire_to_come(fire: PreviewedFire, zone: ZoneInfo) -> dict[str, Any]:
    """A fire of a preview: in UTC, on the wall clock, and what the clock does to it."""
    return {
        "at": instant(fire.at),
        "local": fire.at.astimezone(zone).isoformat(timespec="milliseconds"),
        "note": "; ".join(fire.notes) or None,
    }


def render_clock_change(change: ClockChange, zone: ZoneInfo) -> dict[str, Any]:
    """A change of the clock."""
    before = change.local_before.replace(tzinfo=timezone(change.before))
    return {
        "at": instant(change.at),
        "local_before": before.isoformat(timespec="milliseconds"),
        "local_after": change.at.astimezone(zone).isoformat(timespec="milliseconds"),
        "note": change.in_words(),
    }


def render_run(job: Job) -> dict[str, Any]:
    """A fire time that has a job."""
    return {
        "fire_time": instant(job.fire_time),
        "job_id": job.id,
        "status": job.state,
        "due_at": instant(job.due_at),
    }


def render_skipped(skipped: Skipped) -> dict[str, Any]:
    """Fire times that have none."""
    return {
        "fire_time": instant(skipped.first),
        "until": instant(skipped.last),
        "skipped": skipped.reason,
        "decided_at": instant(skipped.decided_at),
    }
