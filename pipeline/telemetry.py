"""Logs and metrics: what every process says about itself.

Logs are events with fields (structlog), on stderr, as text on a terminal and as JSON elsewhere. No
payloads, no secrets. A line about a failure says what happens next. Metric names are all here.
"""

import atexit
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"dueq_{name}", text, labels, registry=REGISTRY)


SUBMITTED = _counter("jobs_submitted", "Jobs confirmed by RabbitMQ.", "kind")
INGESTED = _counter("jobs_ingested", "Jobs taken from RabbitMQ, by what became of them.", "verdict")
PARKED = _counter("messages_parked", "Bad messages set aside.", "code")
DISPATCHED = _counter("jobs_dispatched", "Jobs moved from pending to queued.", "queue")
EXPIRED = _counter("jobs_expired", "Jobs that were not started before expires_at.")
LEASED = _counter("jobs_leased", "Leases taken.", "queue")
STARTED = _counter("jobs_started", "Starts won in MongoDB.", "queue")
GHOSTS = _counter("leases_not_started", "Leases that did not win the start.", "queue")
ENDED = _counter("attempts_ended", "Attempts that this process recorded.", "queue", "outcome")
LEASES_LOST = _counter(
    "leases_lost", "Attempts stopped because they were no longer ours; cancelled ones too."
)
FIRED = _counter("schedules_fired", "Jobs made of fire times: on_time or catch_up.", "how")
SKIPPED = _counter(
    "schedules_skipped", "Fire times, or spans of them, that got no job, by reason.", "reason"
)
SWEPT = _counter(
    "swept", "Jobs buried at the end of their retention by state, and tombstones deleted.", "what"
)
REAPED = _counter("leases_reaped", "Expired leases, by what was done.", "action")
RESTORED = _counter("jobs_restored", "Queued jobs that Redis had lost.", "queue")
EVENTS_PUBLISHED = _counter(
    "events_published",
    "Lifecycle events told, by whether any queue was bound for them.",
    "listener",
)
STEP_ERRORS = _counter("loop_errors", "Steps of a loop that failed and are tried again.", "loop")
TRIPPED = _counter("http_targets_tripped", "Targets of http jobs that this process found sick.")
HTTP_HELD = _counter(
    "http_jobs_held", "Times that an http job was held back, its target being sick.", "queue"
)
SICK = Gauge(
    "dueq_http_targets_sick", "Targets of http jobs that are known to be sick.", registry=REGISTRY
)
RUNNING = Gauge("dueq_jobs_running", "Jobs running in this process.", registry=REGISTRY)
EVENTS_LAG = Gauge(
    "dueq_events_lag_seconds", "How far behind the events are that this process tells.",
    registry=REGISTRY,
)  # fmt: skip
START_DELAY = Histogram(
    "dueq_start_delay_seconds", "Start of the code minus due time.",
    ["queue"], buckets=_SECONDS, registry=REGISTRY,
)  # fmt: skip
FIRE_DELAY = Histogram(
    "dueq_fire_delay_seconds", "Job stored minus fire time; nothing for those stored ahead.",
    buckets=_SECONDS, registry=REGISTRY,
)  # fmt: skip
RUN_TIME = Histogram(
    "dueq_run_seconds", "How long attempts ran.",
    ["kind"], buckets=_SECONDS, registry=REGISTRY,
)  # fmt: skip


class _Stderr:
    """Where lines go. A full disk or a terminal that has gone costs lines, and nothing else."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def leave(self) -> None:
        """What could not be written is still there, and Python tries it again in the end: that must
        not be what our exit code tells of."""
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stderr.fileno())


def log(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; bind fields, name events `noun.verb`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(module=name)
    return logger


def configure_logs(level: str, form: Literal["auto", "json", "text"], **fields: object) -> None:
    """Set up the logs of this process once; `fields` (role, pid) stand on every line."""
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if text else structlog.processors.JSONRenderer()
    )
    stderr = _Stderr()
    atexit.register(stderr.leave)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=cast(TextIO, stderr)),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**fields)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
