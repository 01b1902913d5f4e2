"""Every key that DueQ has in Redis, with its type and what it holds; the reference page is made
from this table. All of it may be lost at any moment and is rebuilt from MongoDB (R10).

The braces are literal. They are the Redis Cluster hash tag: a queue's keys live in one slot, so
that one script may touch all of them.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal


@dataclass(frozen=True, slots=True)
class Key:
    """One kind of key; `<…>` in the pattern stands for a name."""

    pattern: str
    type: Literal["set", "zset", "hash", "string", "list"]
    holds: str

    def of(self, name: str) -> str:
        """The key of this name, up to a second placeholder if there is one."""
        head, _, tail = self.pattern.partition("<")
        return (head + name + tail.partition(">")[2]).partition("<")[0]


READY = Key(
    "dueq:{<queue>}:ready",
    "zset",
    "job id → (9 - priority)·10^13 + due time in ms; lowest first",
)
DELAYED = Key("dueq:{<queue>}:delayed", "zset", "job id → due time in ms")
PRIORITY = Key(
    "dueq:{<queue>}:priority", "hash", "job id → priority, of delayed jobs whose priority is not 5"
)
LEASED = Key("dueq:{<queue>}:leased", "zset", "job id → lease deadline in ms")
LEASE = Key(
    "dueq:{<queue>}:lease:<job id>",
    "string",
    "`<worker id> <lease id>`; expires with the lease",
)
GRANT = Key(
    "dueq:{<queue>}:grant:<worker id>",
    "string",
    "`<lease id> <job id> …`: what this worker's last lease call gave, so that the same call again "
    "gives the same; expires with the lease",
)
PAUSED = Key("dueq:{<queue>}:paused", "string", "`1`: nothing is leased from this queue")
WAKE = Key(
    "dueq:{<queue>}:wake", "list", "at most one token: one sleeping worker should look for work"
)
GENERATION = Key(
    "dueq:{<queue>}:generation",
    "string",
    "a random value; missing or changed: this queue's part of Redis was wiped",
)
QUEUES = Key("dueq:queues", "set", "queue names")
WORKERS = Key("dueq:workers", "set", "ids of workers that are or were alive")
WORKER = Key(
    "dueq:worker:<id>",
    "hash",
    "host, pid, queues, concurrency, running, started_at; expires when the worker falls silent",
)
DISPATCH_WAKE = Key(
    "dueq:dispatch:wake", "list", "at most one token: one sleeping dispatcher should look"
)

EVERY_KEY = (
    QUEUES, READY, DELAYED, PRIORITY, LEASED, LEASE, GRANT, PAUSED, WAKE, GENERATION,
    WORKERS, WORKER, DISPATCH_WAKE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys of one queue, and in which order scripts are given them."""

    ready: str
    delayed: str
    priority: str
    wake: str
    leased: str
    lease_prefix: str
    grant_prefix: str
    paused: str
    generation: str

    @property
    def waiting(self) -> tuple[str, ...]:
        """KEYS 1-4 of every script that puts jobs into ready or delayed."""
        return (self.ready, self.delayed, self.priority, self.wake)

    @property
    def leases(self) -> tuple[str, ...]:
        """The leased set and the prefix of the lease keys."""
        return (self.leased, self.lease_prefix)

    @property
    def all(self) -> tuple[str, ...]:
        """KEYS 1-6 of scripts that move between both."""
        return self.waiting + self.leases


@lru_cache(maxsize=4096)
def keys_of(queue: str) -> QueueKeys:
    """The keys of `queue`."""
    return QueueKeys(
        ready=READY.of(queue),
        delayed=DELAYED.of(queue),
        priority=PRIORITY.of(queue),
        wake=WAKE.of(queue),
        leased=LEASED.of(queue),
        lease_prefix=LEASE.of(queue),
        grant_prefix=GRANT.of(queue),
        paused=PAUSED.of(queue),
        generation=GENERATION.of(queue),
    )
