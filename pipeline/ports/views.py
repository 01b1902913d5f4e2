"""What a person sees of Redis: queues, keys, workers, watchers. Copies, never the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Room:
    """Whether a limit lets something run. `is_full`: when a lease ends; `token_in`: after that."""

    is_full: bool = False
    token_in: timedelta | None = None

    @property
    def is_there(self) -> bool:
        """Whether it does so now."""
        return not self.is_full and self.token_in is None


@dataclass(frozen=True, slots=True)
class QueueView:
    """What a person sees of a queue; `oldest_wait` is how long the first ready job is overdue.

    Jobs whose limit key has no room count as ready, and not for `oldest_wait`; `limited` is how
    many of the ready jobs have a limit key. `limit` is the queue's own as Redis has it, `room`
    whether that lets something be leased, or when it will.
    """

    name: str
    delayed: int
    ready: int
    leased: int
    paused: bool
    oldest_wait: timedelta
    limited: int = 0
    limit: str = ""
    room: Room = Room()


@dataclass(frozen=True, slots=True)
class KeyView:
    """A limit key that holds jobs back: how many wait, how many run, and what the first waits for.

    `concurrency` is what that one allows, None if nothing; `room` when it may run.
    """

    key: str
    waiting: int
    running: int
    concurrency: int | None
    room: Room


@dataclass(frozen=True, slots=True)
class Peeked:
    """A waiting job, in the order in which it would be leased; `waits_for` is a limit, if one."""

    job_id: str
    priority: int
    due_at: datetime
    ready: bool
    waits_for: str | None = None


OVER_HTTP = {"over": "http"}
"""What `extra` of a worker over HTTP has."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What a worker says of itself in `dueq:worker:<id>`."""

    id: str
    host: str
    pid: int
    queues: Sequence[str]
    concurrency: int
    running: int
    started_at: datetime
    extra: Mapping[str, str] = field(default_factory=dict)
    last_seen_at: datetime | None = field(default=None, compare=False)
    """When it last said so, by Redis's clock."""

    @property
    def is_over_http(self) -> bool:
        """Whether it speaks HTTP with a gateway, and nothing else."""
        return OVER_HTTP.items() <= self.extra.items()


@dataclass(frozen=True, slots=True)
class WatcherView:
    """What a watcher says of itself in `dueq:watcher:<id>`."""

    id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    last_seen_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker process ended, as whoever started it saw it.

    One of `signal` (`SIGKILL`) and `exit_code` is there. `log` is the last of what it printed.
    """

    pid: int
    host: str
    signal: str | None
    exit_code: int | None
    log: str
