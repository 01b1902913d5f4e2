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
DELAYED = Key(
    "dueq:{<queue>}:delayed",
    "zset",
    "job id → due time in ms. A limit key without a token stands here as `=<key>`, at the time of "
    "its next one",
)
PRIORITY = Key(
    "dueq:{<queue>}:priority",
    "hash",
    "job id → priority, of delayed jobs whose priority is not 5 or that have a limit: then "
    "`<priority> <limit> <key>`",
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
OWN_LIMIT = Key(
    "dueq:{<queue>}:limit:own",
    "string",
    "the limit of the queue itself. A limit is `<concurrency> <ms between two tokens> <burst>`, 0 "
    "for what is not limited",
)
LIMIT_KEYS = Key(
    "dueq:{<queue>}:limit:keys",
    "zset",
    "limit key that due jobs are in line for → 2: one of its slots has to become free; 3: one that "
    "has a claim to a token has to start; else the time of its next token in ms",
)
WAITS = Key(
    "dueq:{<queue>}:limit:waits",
    "zset",
    "the lines: `<key> <score as in ready> <job id> <limit>` of each due job that waits for a slot "
    "of its key",
)
SLOTS = Key(
    "dueq:{<queue>}:limit:slots",
    "zset",
    "a member as in `waits` for each job of a key that is in `ready` or leased: they count for its "
    "concurrency. Of a lease it may be `<key> - <job id>`, and the limit by which it started",
)
CLAIMS = Key(
    "dueq:{<queue>}:limit:claims",
    "zset",
    "the members of `slots` whose jobs have a rate and are in `ready` or `started`: each has a "
    "claim to a token",
)
STARTED = Key(
    "dueq:{<queue>}:limit:started",
    "string",
    "`=<ms> <job id> … `: who was leased when, of those whose tokens are not taken yet",
)
OF = Key("dueq:{<queue>}:limit:of", "hash", "job id → its member in `waits` or `slots`")
TWICE = Key(
    "dueq:{<queue>}:limit:twice",
    "set",
    "jobs of keys that were put in anew before their lease has ended",
)
ACTIVE = Key(
    "dueq:{<queue>}:limit:active",
    "string",
    "`keys` while jobs have limit keys, `rates` once one of them had a rate; and for some minutes "
    "after",
)
SPENT = Key(
    "dueq:{<queue>}:limit:spent",
    "hash",
    "limit key (empty: the queue itself) → until when its tokens are spent, in ms",
)
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
    "host, pid, queues, concurrency, running, started_at, seen_ms, version, weights of its queues, "
    "`over` (`http`: it speaks HTTP with a gateway); expires when the worker falls silent",
)
WATCHERS = Key("dueq:watchers", "set", "ids of watchers that are or were alive")
WATCHER = Key(
    "dueq:watcher:<id>",
    "hash",
    "host, pid, version, started_at, seen_ms; expires when the watcher falls silent",
)
PROMISE = Key(
    "dueq:next:<worker id>:<request>",
    "string",
    "the job that this request for work of a worker over HTTP is given, in JSON; expires with the "
    "lease",
)
PLACES = Key(
    "dueq:places:<worker id>",
    "zset",
    "lease id → lease deadline in ms, of what a worker over HTTP runs: it is given no more jobs "
    "than its `concurrency` says",
)
WRITTEN = Key(
    "dueq:log:<job id>:<attempt>",
    "string",
    "the end (64 KiB) of what an attempt of a worker over HTTP has written; expires some leases "
    "after its last line, and goes into the execution before",
)
DEATH = Key(
    "dueq:death:<id>",
    "string",
    "how the process of a worker ended, in JSON, as its parent (`dueq up`, `--processes`) saw it; "
    "expires after a day",
)
NUDGE = Key(
    "dueq:nudge:<id>",
    "list",
    "at most one token: this worker should ask MongoDB now which of its jobs are still its own; "
    "expires after a minute",
)
LIVE = Key(
    "dueq:live:<execution>",
    "string",
    "what a running attempt (`<job id>/<attempt>`) has told so far, in JSON: `progress` and the "
    "tail of its `log`; expires a minute after its worker falls silent",
)
DISPATCH_WAKE = Key(
    "dueq:dispatch:wake", "list", "at most one token: one sleeping dispatcher should look"
)

SICK_TARGETS = Key(
    "dueq:{.sick}:origins", "zset", "origins that have a hash below, and when that expires, ms"
)
SICK_TARGET = Key(
    "dueq:{.sick}:target:<origin>",
    "hash",
    "a target of http jobs that did not answer: since_ms, until_ms (no request goes there before), "
    "probe and probe_ms (who may try, and how long that counts), failed_probes, slot_ms (when the "
    "last of those held back is due), error, `held:<queue>` (how often a job was held back); "
    "deleted when it answers, expires when nobody asks for it",
)

EVERY_KEY = (
    QUEUES, READY, DELAYED, PRIORITY, LEASED, LEASE, GRANT, PAUSED, OWN_LIMIT,
    LIMIT_KEYS, WAITS, SLOTS, CLAIMS, STARTED, OF, TWICE, ACTIVE, SPENT, WAKE, GENERATION,
    WORKERS, WORKER, WATCHERS, WATCHER, DEATH, NUDGE, LIVE, PROMISE, PLACES, WRITTEN, DISPATCH_WAKE,
    SICK_TARGETS, SICK_TARGET,
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

    limit_prefix: str
    own_limit: str
    active: str

    @property
    def all(self) -> tuple[str, ...]:
        """KEYS 1-7 of every script that moves jobs or looks at them."""
        waiting = (self.ready, self.delayed, self.priority, self.wake)
        return (*waiting, self.leased, self.lease_prefix, self.limit_prefix)

    @property
    def ending(self) -> tuple[str, ...]:
        """KEYS of scripts that end leases, or write them."""
        return (*self.all, self.own_limit, self.active)

    @property
    def seen(self) -> tuple[str, ...]:
        """KEYS of the script that counts."""
        return (*self.all, self.paused, self.own_limit)

    def leasing(self, worker: str) -> tuple[str, ...]:
        """KEYS of the lease script."""
        return (*self.all, self.grant_prefix + worker, self.paused, self.own_limit, self.active)


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
        limit_prefix=WAITS.of(queue).removesuffix("waits"),
        own_limit=OWN_LIMIT.of(queue),
        active=ACTIVE.of(queue),
    )
