"""What a process says about itself at `/stats`, in one shape for every role.

Its own only: nothing here is stored, and a process that starts again counts from nothing.
"""

import os
import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.domain.instants import rfc3339
from pipeline.ports import Clock
from pipeline.telemetry import REGISTRY


class Stats:
    """Made when the process starts."""

    def __init__(self, role: str, clock: Clock) -> None:
        self._role = role
        self._clock = clock
        self._started = clock.monotonic()
        self._started_at = rfc3339(clock.now())

    def told(self, *, ready: bool) -> dict[str, Any]:
        """As JSON; `uptime` is in seconds."""
        return {
            "role": self._role,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "version": dueq_version(),
            "started_at": self._started_at,
            "uptime": round(self._clock.monotonic() - self._started, 3),
            "ready": ready,
            "counters": counters(),
        }


def counters() -> dict[str, Any]:
    """What this process has counted: by name, then by labels (`a/b`) where there are any."""
    found: dict[str, Any] = {}
    for family in REGISTRY.collect():
        if family.type not in ("counter", "gauge"):
            continue
        name = family.name.removeprefix("dueq_")
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            if sample.labels:
                found.setdefault(name, {})["/".join(sample.labels.values())] = sample.value
            else:
                found[name] = sample.value
    return found


def dueq_version() -> str:
    """The installed version; `unknown` when run from a checkout that is not installed."""
    try:
        return version("dueq")
    except PackageNotFoundError:
        return "unknown"
