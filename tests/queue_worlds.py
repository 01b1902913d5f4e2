"""A lease queue, the clock it goes by, and what a test can do to it and see of it: in memory and
on Redis, so that one suite runs on both and one state machine compares them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import redis

from pipeline.domain.instants import to_ms
from pipeline.domain.job import Entry
from pipeline.domain.limits import KeyLimit
from pipeline.domain.priority import DEFAULT, ready_score
from pipeline.ports import ExpiredLease, Grant, Lease, LeaseQueue
from pipeline.queue.keys import keys_of
from pipeline.queue.lease_queue import RedisLeaseQueue
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.lease_queue import FakeLeaseQueue
from tests.fakes.limit_keys import CLAIMED

TTL = timedelta(seconds=30)


@dataclass
class Snapshot:
    """All that a queue holds; scores and times in ms."""

    ready: dict[str, int] = field(default_factory=dict)
    delayed: dict[str, int] = field(default_factory=dict)
    priority: dict[str, int] = field(default_factory=dict)
    leased: dict[str, int] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    grants: dict[str, str] = field(default_factory=dict)
    paused: bool = False
    generation: str | None = None
    token: bool = False
    limits: dict[str, str] = field(default_factory=dict)
    """Delayed job → `<limit> <key>`."""
    lines: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    """Job in line → key, score, limit."""
    slots: dict[str, tuple[str, int | None, str]] = field(default_factory=dict)
    """Job → key, score if it stands in the order of ready, its limit if that is known."""
    claims: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    verdicts: dict[str, int] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    active: str | None = None
    own: str = ""


class World:
    """What both have in common."""

    queue: LeaseQueue
    clock: ManualClock

    def entry(
        self,
        job_id: str,
        due_in: float = 0,
        priority: int = DEFAULT,
        queue: str = "default",
        limit: KeyLimit | None = None,
    ) -> Entry:
        """A job due so many seconds from now."""
        due_at = self.clock.now() + timedelta(seconds=due_in)
        return Entry(job_id, queue, due_at, priority, limit)

    async def add(
        self,
        job_id: str,
        due_in: float = 0,
        priority: int = DEFAULT,
        limit: KeyLimit | None = None,
    ) -> None:
        """Put one job in."""
        await self.queue.add([self.entry(job_id, due_in, priority, limit=limit)])

    async def lease(
        self, lease_id: str, worker: str = "w1", limit: int = 10, queue: str = "default"
    ) -> Grant:
        """Lease for `TTL`."""
        return await self.queue.lease(queue, worker=worker, lease_id=lease_id, limit=limit, ttl=TTL)

    def held(
        self,
        job_id: str,
        lease_id: str,
        worker: str = "w1",
        queue: str = "default",
        limit_key: str | None = None,
    ) -> Lease:
        """The lease of one job."""
        return Lease(job_id, queue, worker, lease_id, limit_key)

    async def expired(self) -> dict[str, ExpiredLease]:
        """The expired leases by job."""
        return {lease.job_id: lease for lease in await self.queue.expired("default", 100)}

    def due(self, seconds: float) -> datetime:
        """The instant so many seconds from now."""
        return self.clock.now() + timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass, for leases too."""
        raise NotImplementedError

    def wipe(self) -> None:
        """Redis loses everything."""
        raise NotImplementedError

    def forget_lease(self, job_id: str) -> None:
        """Remove it from `leased`, and from nothing else."""
        raise NotImplementedError

    def snapshot(self, queue: str = "default") -> Snapshot:
        """What is there now."""
        raise NotImplementedError

    def take_token(self, queue: str = "default") -> bool:
        """What a worker that looks once, without waiting, would find."""
        raise NotImplementedError

    def sleeping(self) -> int:
        """How many stand in `await_work` of the default queue."""
        raise NotImplementedError


@asynccontextmanager
async def a_world(kind: str, redis_url: str) -> AsyncIterator[World]:
    """`fake` or `redis`."""
    if kind == "fake":
        yield FakeWorld(ManualClock())
        return
    world = RedisWorld(redis_url, ManualClock())
    async with world.real:
        yield world
    world.raw.close()


class FakeWorld(World):
    """In memory."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.queue = self.fake = FakeLeaseQueue(clock)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def wipe(self) -> None:
        self.fake.wipe()

    def forget_lease(self, job_id: str) -> None:
        del self.fake.part("default").leased[job_id]

    def snapshot(self, queue: str = "default") -> Snapshot:
        part = self.fake.part(queue)
        delayed = part.delayed.items()
        return Snapshot(
            ready={job: ready_score(w.priority, w.due) for job, w in part.ready.items()},
            delayed={job: w.due for job, w in delayed},
            priority={job: w.priority for job, w in delayed if w.priority != DEFAULT},
            leased=dict(part.leased),
            owners={job: held.owner for job, held in part.keys.items()},
            grants={
                worker: " ".join([given.lease_id, *given.job_ids])
                for worker, given in part.grants.items()
            },
            paused=part.paused,
            generation=part.generation,
            token=self.fake.has_token(queue),
            limits={
                job: f"{waiting.limit.text} {waiting.limit.key}"
                for job, waiting in part.delayed.items()
                if waiting.limit
            },
            lines={
                job: (one.limit.key, one.rank(job)[0], one.limit.text)
                for job, one in part.limits.waits.items()
                if one.limit
            },
            slots={
                job: (
                    slot.key,
                    slot.place.rank(job)[0] if slot.place else None,
                    slot.limit.text if slot.limit else "",
                )
                for job, slot in part.limits.slots.items()
            },
            claims=set(part.limits.claims),
            twice=set(part.limits.twice),
            verdicts={key: int(at) for key, at in part.limits.verdicts.items()},
            spent=dict(part.limits.spent),
            active=part.limits.active,
            own=part.limit.text,
        )

    def take_token(self, queue: str = "default") -> bool:
        return self.fake.take_token(queue)

    def sleeping(self) -> int:
        return self.fake.sleeping("default")


class RedisWorld(World):
    """On Redis, whose scripts are told the instant by our clock.

    Keys with a time to live expire by Redis's own clock, which stands still beside ours: `advance`
    removes those whose time is up by ours.
    """

    def __init__(self, url: str, clock: ManualClock) -> None:
        self.clock = clock
        self.queue = self.real = RedisLeaseQueue(
            url, clock, SeededChance(1), lambda: str(to_ms(clock.now()))
        )
        self.raw: Any = redis.Redis.from_url(url, decode_responses=True)
        self._grants: dict[tuple[str, str], datetime] = {}

    async def lease(
        self, lease_id: str, worker: str = "w1", limit: int = 10, queue: str = "default"
    ) -> Grant:
        before = self.raw.get(keys_of(queue).grant_prefix + worker)
        grant = await super().lease(lease_id, worker, limit, queue)
        if self.raw.get(keys_of(queue).grant_prefix + worker) != before:
            self._grants[queue, worker] = self.clock.now() + TTL
        return grant

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for name in self.raw.scan_iter("dueq:{*}:leased"):
            queue = name.removeprefix("dueq:{").removesuffix("}:leased")
            for job_id in self.raw.zrangebyscore(name, "-inf", to_ms(self.clock.now())):
                self.raw.delete(keys_of(queue).lease_prefix + job_id)
        for (queue, worker), until in self._grants.items():
            if until <= self.clock.now():
                self.raw.delete(keys_of(queue).grant_prefix + worker)

    def wipe(self) -> None:
        self.raw.flushdb()

    def forget_lease(self, job_id: str) -> None:
        self.raw.zrem(keys_of("default").leased, job_id)

    def snapshot(self, queue: str = "default") -> Snapshot:
        keys, look = keys_of(queue), self.raw.pipeline()
        for sorted_set in (keys.ready, keys.delayed, keys.leased):
            look.zrange(sorted_set, 0, -1, withscores=True)
        look.hgetall(keys.priority).llen(keys.wake).exists(keys.paused).get(keys.generation)
        look.keys(f"dueq:{{{queue}}}:*:*")
        ready, delayed, leased, priority, tokens, paused, generation, names = look.execute()
        assert tokens <= 1, f"{tokens} tokens"
        strings = dict(zip(names, self.raw.mget(names), strict=True)) if names else {}
        asked = {job: value.partition(" ") for job, value in priority.items()}
        return Snapshot(
            ready=_whole(ready),
            delayed={job: at for job, at in _whole(delayed).items() if job[0] != "="},
            priority={
                job: int(value)
                for job, (value, _, limit) in asked.items()
                if not limit or int(value) != DEFAULT
            },
            limits={job: limit for job, (_, _, limit) in asked.items() if limit},
            **self._limits(queue, _whole(delayed)),
            own=strings.get(keys.own_limit) or "",
            leased=_whole(leased),
            owners=_after(keys.lease_prefix, strings),
            grants=_after(keys.grant_prefix, strings),
            paused=bool(paused),
            generation=generation,
            token=bool(tokens),
        )

    def _limits(self, queue: str, delayed: dict[str, int]) -> dict[str, Any]:
        """What limit keys hold; their marks are where the verdicts say, and nowhere else."""
        prefix, lines, slots = keys_of(queue).limit_prefix, {}, {}
        verdicts = _whole(self.raw.zrange(prefix + "keys", 0, -1, withscores=True))
        waits, taken = (set(self.raw.zrange(prefix + name, 0, -1)) for name in ("waits", "slots"))
        of, twice = self.raw.hgetall(prefix + "of"), self.raw.smembers(prefix + "twice")
        active = self.raw.get(keys_of(queue).active)
        for member in waits:
            key, score, job, limit = member.split(" ", 3)
            assert of[job] == member
            lines[job] = (key, int(score), limit)
        for member in taken:
            key, score, job, *rest = member.split(" ", 3)
            assert of[job] == member or (job in lines and score == "-"), member
            slots[job] = (key, None if score == "-" else int(score), "".join(rest))
        claims = set(self.raw.zrange(prefix + "claims", 0, -1))
        assert claims <= taken
        assert set(of) == set(lines) | set(slots)
        assert active or not of
        assert set(verdicts) == {key for key, _, _ in lines.values()}
        marks = {job: at for job, at in delayed.items() if job[0] == "="}
        assert marks == {f"={key}": at for key, at in verdicts.items() if at > CLAIMED}
        spent = {k: float(until) for k, until in self.raw.hgetall(prefix + "spent").items()}
        claimants = {member.split(" ")[2] for member in claims}
        started = self.raw.get(prefix + "started") or ""
        assert not started or CLAIMED not in verdicts.values()
        for at, *jobs in map(str.split, started.split("=")[1:]):
            for job in jobs:
                if job in slots and slots[job][1] is not None:
                    _settle(spent, int(at), *slots[job])
                claimants.discard(job)
        return {"lines": lines, "slots": slots, "claims": claimants, "twice": twice,
                "verdicts": verdicts, "spent": spent, "active": active}  # fmt: skip

    def take_token(self, queue: str = "default") -> bool:
        return self.raw.lpop(keys_of(queue).wake) is not None

    def sleeping(self) -> int:
        number = str(self.raw.connection_pool.connection_kwargs["db"])
        return sum(c["db"] == number and "b" in c["flags"] for c in self.raw.client_list())


def _whole(scores: Sequence[tuple[str, float]]) -> dict[str, int]:
    return {member: int(score) for member, score in scores}


def _after(prefix: str, strings: Mapping[str, str]) -> dict[str, str]:
    return {k.removeprefix(prefix): text for k, text in strings.items() if k.startswith(prefix)}


def _settle(spent: dict[str, float], now: int, key: str, _place: int | None, limit: str) -> None:
    """Take a token of this key at this instant, if the limit is a rate (lua/started.lua)."""
    _, interval, burst = map(float, (limit or "0 0 0").split())
    if interval:
        ahead = min(max(spent.get(key, 0) - now, 0), interval * burst)
        spent[key] = now + ahead + interval
