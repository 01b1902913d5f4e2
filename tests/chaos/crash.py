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
"""The variable that names the point, as `NAME` or `NAME:N`: dies there when it comes by the N-th
time, or the first."""

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
    "worker-after-lease": CrashPoint("worker", "after", QUEUE, "lease", lambda g: g.job_ids),
    "worker-after-start": CrashPoint("worker", "after", STORE, "start"),
    "worker-before-settle": CrashPoint("worker", "before", STORE, "settle"),
    "worker-after-settle": CrashPoint("worker", "after", STORE, "settle"),
}


def plant(named: str) -> None:
    """This process will die at that point."""
    name, _, count = named.partition(":")
    point, passes = POINTS[name], _Passes(name, int(count or 1))
    module, _, owner_name = point.owner.partition(":")
    owner = getattr(importlib.import_module(module), owner_name)
    method = getattr(owner, point.method)
    is_in_reply = point.method in _REPLIES

    @wraps(method)
    async def dying(self: Any, *arguments: Any, **named: Any) -> Any:
        if point.moment == "before" and arguments[0]:
            passes.one()
        reply = await method(self, *arguments, **named)
        if point.moment == "after" and (point.about(reply) if is_in_reply else arguments[0]):
            passes.one()
        return reply

    setattr(owner, point.method, dying)


_REPLIES = {"dispatch", "lease", "start"}
"""What these are about stands in the reply; of all others in the first argument."""


class _Passes:
    """Counts down to death."""

    def __init__(self, name: str, left: int) -> None:
        self._name = name
        self._left = left

    def one(self) -> None:
        self._left -= 1
        if self._left == 0:
            witness(Seen.CRASHED, self._name)
            os.kill(os.getpid(), signal.SIGKILL)
