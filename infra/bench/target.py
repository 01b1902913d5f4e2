"""The system that is measured: a `dueq up` of our own, or one that somebody else runs.

Our own has temporary data and free ports, and the kernel stops it when we are killed. It uses the
servers that the environment names, as every `dueq up` does.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.bench.cost import Tree
from infra.exits import CommandFailed, Exit
from infra.settings import HOME, URLS_FILE, load_settings

_STOP_SECONDS = 40.0


@dataclass(frozen=True)
class Setup:
    """How many of each, and how many jobs a worker runs at a time."""

    gateways: int = 1
    ingests: int = 1
    watchers: int = 1
    workers: int = 1
    concurrency: int = 1000


@dataclass(frozen=True)
class Target:
    """Where to send jobs. `tree` is None where the processes are unknown: then no CPU is told."""

    http: str
    amqp: str
    mongo: str
    redis: str
    tree: Tree | None
    pids: tuple[tuple[str, int], ...] = ()
    """Role and pid of each process, if they are known."""


def given(url: str) -> Target:
    """Somebody's gateway; of a `dueq up` beside us that has this URL the processes are known."""
    settings = load_settings()
    try:
        beside = json.loads((HOME / URLS_FILE).read_text())
    except (OSError, ValueError):
        beside = {}
    if beside.get("url") != url:
        return Target(url, settings.amqp_url, settings.mongo_url, settings.redis_url, None)
    return _target(beside, int(beside["pid"]))


@contextmanager
def started(setup: Setup) -> Iterator[Target]:
    """One of our own, ready; stopped and removed in the end."""
    with tempfile.TemporaryDirectory(prefix="dueq-bench-") as folder:
        process = subprocess.Popen(
            ("setpriv", "--pdeathsig", "TERM", *_argv(setup, Path(folder))),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            env=_environment(), start_new_session=True,
        )  # fmt: skip
        try:
            yield _target(_ready_line(process), process.pid)
        finally:
            _stop(process)


def _argv(setup: Setup, folder: Path) -> tuple[str, ...]:
    return (
        sys.executable, "-m", "infra.cli", "up", "--port=0", "-o", "json", f"--data={folder}",
        f"--gateways={setup.gateways}", f"--ingests={setup.ingests}",
        f"--watchers={setup.watchers}", f"--workers={setup.workers}",
        f"--concurrency={setup.concurrency}", "--import=infra.bench.tasks",
    )  # fmt: skip


def _environment() -> dict[str, str]:
    """A checkout that is not installed has to be found from anywhere."""
    paths = (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _ready_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise CommandFailed(Exit.FAILED, "`dueq up` did not come up; it said why above")
    ready: dict[str, Any] = json.loads(line)
    return ready


def _target(ready: dict[str, Any], pid: int) -> Target:
    pids = tuple((each["role"], each["pid"]) for each in ready["processes"])
    # The balancer is a server: it goes by its own name.
    roles = {pid: role for role, pid in pids if role != "balancer"}
    servers = (ready["http"], ready["amqp"], ready["mongo"], ready["redis"])
    return Target(*servers, Tree(pid, roles), pids)


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
