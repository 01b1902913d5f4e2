"""CPU time by process: ours by role, servers by name, from the tree under `dueq up`.

User and system time in ticks of 10 ms, children included. A child that nobody knows by name (the
shell that starts RabbitMQ, a command that a worker runs) counts for its parent. Where there is no
such tree (servers or gateway of somebody else), there are no figures, never wrong ones.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.exits import CommandFailed, Exit

SUPERVISOR = "up"
_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_SERVERS = {
    "mongod": "mongod",
    "redis-server": "redis",
    "beam.smp": "rabbitmq",
    "epmd": "epmd",
    "haproxy": "haproxy",
}


@dataclass(frozen=True)
class Process:
    """What /proc/PID/stat says of a process."""

    pid: int
    command: str
    parent: int
    seconds: float


@dataclass(frozen=True)
class Tree:
    """The processes under `dueq up` (`root`), and which of them have which role."""

    root: int
    roles: Mapping[int, str]

    def read(self, proc: Path = _PROC) -> dict[str, float]:
        """CPU seconds so far, by name; ends the bench if one of ours is gone."""
        processes = {process.pid: process for process in _processes(proc)}
        for pid in (self.root, *self.roles):
            if pid not in processes:
                text = f"{self.roles.get(pid, SUPERVISOR)} (pid {pid}) died: no figures"
                raise CommandFailed(Exit.FAILED, text)
        seconds: dict[str, float] = {}
        for process in processes.values():
            if name := self._name_of(process, processes):
                seconds[name] = seconds.get(name, 0.0) + process.seconds
        return seconds

    def _name_of(self, process: Process, processes: Mapping[int, Process]) -> str | None:
        """Its own name or that of the nearest ancestor who has one; None outside of the tree."""
        name: str | None = None
        above: Process | None = process
        while above is not None:
            if above.pid == self.root:
                return name or SUPERVISOR
            name = name or self.roles.get(above.pid) or _SERVERS.get(above.command)
            above = processes.get(above.parent)
        return None


def spent(before: Mapping[str, float], after: Mapping[str, float], jobs: int) -> dict[str, float]:
    """CPU seconds per 1,000 jobs, by name, the dearest first; what spent nothing is left out."""
    per_1000 = {name: (after[name] - before.get(name, 0.0)) * 1000 / jobs for name in after}
    dear = sorted(per_1000.items(), key=lambda item: -item[1])
    return {name: seconds for name, seconds in dear if seconds > 0}


def _processes(proc: Path) -> Iterator[Process]:
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                yield _parsed((folder / "stat").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue


def _parsed(stat: str) -> Process:
    """`pid (command) state ppid …`; a command may have spaces and brackets itself (proc(5))."""
    start, _, rest = stat.rpartition(")")
    pid, _, command = start.partition(" (")
    fields = rest.split()
    return Process(int(pid), command, int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)
