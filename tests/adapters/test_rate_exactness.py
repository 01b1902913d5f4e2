"""A rate is exact, whatever happens to the jobs and when the tokens are written down: it is never
exceeded, and a worker that comes away empty would have exceeded it. On Redis, by a clock set by
hand.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.domain.instants import to_ms
from pipeline.domain.limits import KeyLimit, Rate
from pipeline.ports import Lease
from tests.queue_worlds import TTL, World, a_world

SLOP = 0.02
"""ms: of the numbers that are kept are floats."""
Act = tuple[str, int]

rates = st.sampled_from([
    Rate(count=1, per=1),
    Rate(count=7, per=3, burst=2),
    Rate(count=2, per=1, burst=5),
    Rate(count=40, per=1, burst=4),
])  # fmt: skip
limits = st.builds(
    lambda rate, most: KeyLimit(key="k", rate=rate, concurrency=most),
    rates, st.sampled_from([None, None, 3]),
)  # fmt: skip
acts = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 24, 25, 26, 400, 428, 429, 500, 1000, 31_000])),
    st.tuples(st.sampled_from(["add", "add", "add later", "work", "lease"]), st.integers(1, 3)),
    st.tuples(
        st.sampled_from(
            ["ack", "forgo", "give back", "extend", "move", "reap", "anew", "delay", "recount"]
        ),
        st.integers(0, 9),
    ),
)


@dataclass
class Shop:
    """Workers of one key, and when each job started: under which lease, at which ms."""

    world: World
    limit: KeyLimit
    starts: list[tuple[int, Lease]] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    jobs: int = 0
    calls: int = 0

    @property
    def now(self) -> int:
        return to_ms(self.world.clock.now())

    async def do(self, act: str, number: int) -> None:
        """One step; `number` picks a job, or says how long or how many."""
        if act == "wait":
            self.world.advance(number / 1000)
        elif act == "work":
            await self.work()
        elif act in ("add", "add later"):
            await self.add(number, 0 if act == "add" else number / 2)
        elif act == "lease":
            await self.lease(number)
        elif act == "recount":
            await self.world.queue.recount("default")
        elif act == "reap":
            await self.reap()
        elif act in ("forgo", "give back"):
            await self.not_started(act, number)
        elif self.leases:
            await self.meet(act, self.leases[number % len(self.leases)], number)

    async def add(self, count: int, due_in: float) -> None:
        names = [f"j{number}" for number in range(self.jobs, self.jobs + count)]
        self.jobs += count
        await self.world.queue.add([self.world.entry(j, due_in, limit=self.limit) for j in names])

    async def lease(self, count: int) -> int:
        self.calls += 1
        grant = await self.world.lease(f"L{self.calls}", limit=count)
        mine = [self.world.held(j, f"L{self.calls}", limit_key="k") for j in grant.job_ids]
        self.leases += mine
        self.starts += [(self.now, lease) for lease in mine]
        return len(mine)

    async def work(self) -> None:
        """As idle workers do: until nobody is woken any more. Then one more would be too many."""
        while await self.lease(100) or self.world.take_token():
            pass
        held = self.world.snapshot()
        taken = [key for key, _, _ in held.slots.values()].count("k")
        if held.lines and taken < (self.limit.concurrency or inf):
            assert self.excess([*self.instants, self.now]) > 0, "a token is lost"

    async def meet(self, act: str, lease: Lease, number: int) -> None:
        """Something happens to a job that was leased at some time."""
        queue = self.world.queue
        entry = self.world.entry(lease.job_id, number % 3 - 1, number % 10, limit=self.limit)
        if act == "ack":
            await queue.ack([lease])
        elif act == "extend":
            await queue.extend([lease], TTL)
        elif act == "move":
            await queue.extend([replace(lease, limit_key="another")], TTL)
        elif act == "anew":
            await queue.restore([entry])
        else:
            await queue.add([entry])

    async def not_started(self, act: str, number: int) -> None:
        """The token of a job that was leased in this instant comes back, unless that was put in
        anew. Later a part of it would have come back by itself, and the rate were not exact."""
        fresh = [start for start in self.starts if start[0] == self.now]
        if not fresh:
            return
        _, lease = start = fresh[number % len(fresh)]
        held = self.world.snapshot()
        is_own = held.owners.get(lease.job_id) == f"{lease.worker} {lease.lease_id}"
        _, _, limit = held.slots.get(lease.job_id, ("", None, ""))
        if is_own and limit and lease.job_id not in held.twice:
            self.starts.remove(start)
        if act == "forgo":
            await self.world.queue.forgo([lease])
        else:
            entry = self.world.entry(lease.job_id, limit=self.limit)
            await self.world.queue.give_back([(lease, entry)])

    async def reap(self) -> None:
        for job, lease in (await self.world.expired()).items():
            entry = self.world.entry(job, limit=self.limit)
            await self.world.queue.requeue("default", [(lease, entry)])

    # -- what must hold

    @property
    def instants(self) -> list[int]:
        return [at for at, _ in self.starts]

    def excess(self, instants: Sequence[int]) -> float:
        """By how many tokens the last of these starts is too many, at worst."""
        rate, last, count = self.limit.rate, instants[-1], len(instants)
        assert rate is not None
        return max(
            count - n - rate.capacity - (last - at + SLOP) / rate.interval_ms
            for n, at in enumerate(instants)
        )


@pytest.mark.timeout(400)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(limit=limits, acts=st.lists(acts, min_size=60, max_size=100))
def test_as_many_start_as_the_rate_allows_and_not_one_more(
    redis_url: str, limit: KeyLimit, acts: list[Act]
) -> None:
    async def run() -> None:
        async with a_world("redis", redis_url) as world:
            shop = Shop(world, limit)
            world.wipe()
            for act in acts:
                await shop.do(*act)
                if shop.starts:
                    assert shop.excess(shop.instants) <= 0, "too many start"

    asyncio.run(run())
