"""Crash points: a process kills itself, `kill -9`, at one exact line of its way.

A point is a method of an adapter and the moment before its call is sent or after its reply came,
counted only when the call is about some job. Between two neighbouring calls lies a crash window;
every window on a job's way has its point here. Production code knows nothing of them.
"""

import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

from tests.chaos.sink import Seen, witness

CRASH = "DUEQ_TEST_CRASH"
"""The variable that names the point; a process dies there the first time it comes by."""

INTAKE = "pipeline.broker.publisher:RabbitIntake"
MAILBOX = "pipeline.broker.mailbox:RabbitMailbox"
STORE = "pipeline.store.job_store:MongoJobStore"
QUEUE = "pipeline.queue.lease_queue:RedisLeaseQueue"
About = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """`role` passes here; `about` says which jobs a reply is about."""

    role: str
    moment: Literal["before", "after"]
    owner: str
    method: str
    about: About = lambda reply: reply


POINTS = {
    "gateway-before-publish": CrashPoint("gateway", "before", INTAKE, "publish"),
    "gateway-after-publish": CrashPoint("gateway", "after", INTAKE, "publish"),
    "ingest-before-insert": CrashPoint("ingest", "before", STORE, "insert"),
    "ingest-after-insert": CrashPoint("ingest", "after", STORE, "insert"),
    "ingest-after-add": CrashPoint("ingest", "after", QUEUE, "add"),
    "ingest-before-ack": CrashPoint("ingest", "before", MAILBOX, "ack"),
    "watcher-after-dispatch": CrashPoint("watcher", "after", STORE, "dispatch"),
    "watcher-after-add": CrashPoint("watcher", "after", QUEUE, "add"),
    "worker-after-lease": CrashPoint("worker", "after", QUEUE, "lease", lambda g: g.job_ids),
    "worker-after-start": CrashPoint("worker", "after", STORE, "start"),
    "worker-after-record": CrashPoint("worker", "after", STORE, "record"),
    "worker-before-settle": CrashPoint("worker", "before", STORE, "settle"),
    "worker-after-settle": CrashPoint("worker", "after", STORE, "settle"),
    "worker-before-ack": CrashPoint("worker", "before", QUEUE, "ack"),
}


def plant(name: str) -> None:
    """From now on this process dies at that point."""
    point = POINTS[name]
    module, _, owner_name = point.owner.partition(":")
    owner = getattr(importlib.import_module(module), owner_name)
    method = getattr(owner, point.method)
    replies = "after" if point.moment == "after" and method.__name__ in _REPLIES else None

    @wraps(method)
    async def dying(self: Any, *arguments: Any, **named: Any) -> Any:
        if point.moment == "before" and arguments[0]:
            _die(name)
        reply = await method(self, *arguments, **named)
        if point.moment == "after" and (point.about(reply) if replies else arguments[0]):
            _die(name)
        return reply

    setattr(owner, point.method, dying)


_REPLIES = {"dispatch", "lease", "start"}
"""What these are about stands in the reply; of all others in the first argument."""


def _die(name: str) -> None:
    witness(Seen.CRASHED, name)
    os.kill(os.getpid(), signal.SIGKILL)
