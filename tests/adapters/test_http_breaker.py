"""Http jobs of a target that is sick, from the lease to the record: a worker on the fakes, its
requests real. Its time, and the breaker's, is the test's.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest_asyncio
from aiohttp import web

from pipeline.domain.execution import Outcome
from pipeline.domain.states import State
from tests.builders import a_job
from tests.endings import failure
from tests.fakes.clock import SeededChance
from tests.fakes.sick_targets import FakeSickTargets
from tests.http_world import Receiver, executing, receiving, redirect
from tests.worker_world import LEASE, WorkerWorld, no_heartbeat
from workers.breaker import Breaker
from workers.options import WorkerOptions
from workers.worker import Worker

AFTER = 5
NO_RETRY = {"max_attempts": 1}


class World(WorkerWorld):
    """And two targets, of which the first can fall sick."""

    def __init__(self, sick: Receiver, well: Receiver) -> None:
        super().__init__()
        self.targets = FakeSickTargets(self.clock, SeededChance(5))
        self.sick, self.well = sick, well
        self.is_sick = True
        sick.answer = lambda: web.Response(status=503 if self.is_sick else 200)

    @asynccontextmanager
    async def working(self, concurrency: int = 10) -> AsyncIterator[None]:
        """A worker runs inside."""
        breaker = Breaker(self.targets, self.clock, SeededChance(6), AFTER)
        async with executing("127.0.0.1", clock=self.clock, breaker=breaker) as executors:
            options = WorkerOptions("w1", ("default",), concurrency, LEASE)
            worker = Worker(
                options, self.store, self.queue, self.clock, self.chance, executors, no_heartbeat
            )
            async with self.running(worker):
                yield

    async def call_sick(self, **fields: Any) -> str:
        """A job for the sick one."""
        return await self.submit(http={"url": self.sick.url}, **fields)

    async def settled(self) -> None:
        """Nothing is under way any more."""
        running = (State.QUEUED, State.RUNNING)
        await self.until(lambda: not [j for j in self.store.jobs.values() if j.state in running])

    async def pass_time(self, seconds: float) -> None:
        """Some time, with a dispatcher that looks twice a second, and all that follows."""
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)
            await self.queue.add(await self.store.dispatch(timedelta(0), 1000))
            await self.settled()

    def states(self) -> Counter[State]:
        return Counter(job.state for job in self.store.jobs.values())

    def outcomes(self) -> Counter[Outcome]:
        return Counter(record.outcome for record in self.store.records.values())


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with receiving() as sick, receiving() as well:
        yield World(sick, well)


async def test_jobs_of_a_sick_target_wait_without_spending_attempts(world: World) -> None:
    """Each may fail once only, so each that had been sent would be dead."""
    async with world.working(concurrency=1):
        for _ in range(50):
            await world.call_sick(retry=NO_RETRY)
        await world.settled()
        assert len(world.sick.requests) == AFTER
        assert world.states() == {State.DEAD: AFTER, State.PENDING: 50 - AFTER}
        assert world.outcomes() == {Outcome.FAILED: AFTER, Outcome.RELEASED: 50 - AFTER}
        held = [job for job in world.store.jobs.values() if job.state is State.PENDING]
        assert {(job.attempt, job.failures, job.losses) for job in held} == {(1, 0, 0)}
        error = world.record(held[0].id).error
        assert error is not None
        assert error.type == "target_sick"
        assert "answered 503" in error.message


async def test_when_the_probe_is_answered_all_others_follow(world: World) -> None:
    async with world.working(concurrency=1):
        for _ in range(50):
            await world.call_sick(retry=NO_RETRY)
        await world.settled()
        world.is_sick = False
        await world.pass_time(8)
        assert world.states() == {State.DEAD: AFTER, State.SUCCEEDED: 50 - AFTER}
        assert len(world.sick.requests) == 50
        assert await world.targets.origins() == frozenset()


async def test_while_it_stays_sick_only_probes_go_there_and_each_by_another_job(
    world: World,
) -> None:
    async with world.working(concurrency=1):
        for _ in range(30):
            await world.call_sick(retry={"max_attempts": 3})
        await world.settled()
        await world.pass_time(5 + 10 + 20 + 40 + 3)
        probes = len(world.sick.requests) - AFTER
        assert 3 <= probes <= 4
        assert all(job.failures <= 1 for job in world.store.jobs.values())
        assert world.states() == {State.PENDING: 30}


async def test_a_job_that_may_not_go_there_leaves_the_probe_to_one_that_may(world: World) -> None:
    async with world.working(concurrency=1):
        for _ in range(AFTER):
            await world.call_sick(retry=NO_RETRY)
        await world.settled()
        world.is_sick = False
        world.clock.advance(5)
        breaker = Breaker(world.targets, world.clock, SeededChance(7), AFTER)
        async with executing(clock=world.clock, breaker=breaker) as barred:
            ending = failure(await barred.run(a_job(body={"http": {"url": world.sick.url}})))
        assert ending.error.type == "forbidden_target"
        job_id = await world.call_sick()
        await world.settled()
        assert world.state(job_id) is State.SUCCEEDED


async def test_a_job_that_must_not_be_lost_is_held_back_too(world: World) -> None:
    """`on_lost: dead` is for what has begun; of this nothing was sent (H6)."""
    async with world.working(concurrency=1):
        for _ in range(AFTER):
            await world.call_sick(retry=NO_RETRY)
        await world.settled()
        job_id = await world.call_sick(on_lost="dead", retry=NO_RETRY)
        await world.settled()
        assert world.state(job_id) is State.PENDING
        world.is_sick = False
        await world.pass_time(6)
        assert world.state(job_id) is State.SUCCEEDED


async def test_a_thousand_that_wait_keep_nobody_else_waiting_and_do_not_spin(
    world: World,
) -> None:
    async with world.working():
        for _ in range(1000):
            await world.call_sick(retry=NO_RETRY)
        others = [await world.submit(http={"url": world.well.url}) for _ in range(20)]
        await world.until(lambda: all(world.state(job_id) is State.SUCCEEDED for job_id in others))
        await world.settled()
        first_pass = world.outcomes()[Outcome.RELEASED]
        await world.pass_time(4)
        assert world.outcomes()[Outcome.RELEASED] == first_pass  # all wait until the probe
        await world.pass_time(1)
        later = await world.submit(http={"url": world.well.url})
        await world.until(lambda: world.state(later) is State.SUCCEEDED)
        await world.pass_time(60)
        turns = world.outcomes()[Outcome.RELEASED]
        assert turns <= first_pass + 65 * 200
        assert len(world.sick.requests) < 30
        assert world.states()[State.PENDING] > 950


async def test_where_a_redirect_leads_may_be_sick_without_its_origin_being_so(
    world: World,
) -> None:
    world.well.answer = redirect("http://127.0.0.1:1/")
    async with world.working(concurrency=1):
        for _ in range(2 * AFTER):
            await world.submit(http={"url": world.well.url, "redirects": 1}, retry=NO_RETRY)
        await world.settled()
        assert len(world.well.requests) == 2 * AFTER
        assert await world.targets.origins() == frozenset()


async def test_a_probe_that_is_redirected_to_where_no_job_may_go_has_been_answered(
    world: World,
) -> None:
    async with world.working(concurrency=1):
        for _ in range(AFTER):
            await world.call_sick(retry=NO_RETRY)
        await world.settled()
        world.sick.answer = redirect("http://10.0.0.1/")
        job_id = await world.submit(http={"url": world.sick.url, "redirects": 1}, retry=NO_RETRY)
        await world.settled()
        assert world.state(job_id) is State.PENDING
        await world.pass_time(6)
        assert world.state(job_id) is State.DEAD
        assert await world.targets.origins() == frozenset()


async def test_a_client_error_is_an_answer_and_a_timeout_is_not(world: World) -> None:
    async with world.working(concurrency=1):
        world.sick.answer = lambda: web.Response(status=404)
        for _ in range(AFTER + 1):
            await world.call_sick(retry=NO_RETRY)
        await world.settled()
        assert await world.targets.origins() == frozenset()
        for _ in range(AFTER):
            body = {"url": f"{world.sick.url}/slow"}
            await world.submit(http=body, timeout=0.05, retry=NO_RETRY)
        await world.settled()
        assert await world.targets.origins() == {world.sick.url}


async def test_a_503_that_the_job_calls_success_is_an_answer(world: World) -> None:
    """Of a job that looks whether something is switched off."""
    async with world.working(concurrency=1):
        for _ in range(AFTER + 1):
            await world.submit(http={"url": world.sick.url, "success": ["503"]})
        await world.settled()
        assert world.states() == {State.SUCCEEDED: AFTER + 1}
        assert await world.targets.origins() == frozenset()


async def test_too_many_requests_with_an_instant_is_obeyed_by_all_jobs_of_the_target(
    world: World,
) -> None:
    world.sick.answer = lambda: web.Response(status=429, headers={"Retry-After": "120"})
    async with world.working(concurrency=1):
        for _ in range(AFTER + 3):
            await world.call_sick()
        await world.settled()
        world.sick.answer = web.Response
        await world.pass_time(119)
        assert len(world.sick.requests) == AFTER
        await world.pass_time(4)
        assert world.states() == {State.SUCCEEDED: AFTER + 3}


async def test_nobody_there_is_sick_and_a_forbidden_address_is_not(world: World) -> None:
    async with world.working(concurrency=1):
        for url in ("http://127.0.0.1:1", "http://10.0.0.1"):
            for _ in range(AFTER):
                await world.submit(http={"url": url}, retry=NO_RETRY)
        await world.settled()
        assert await world.targets.origins() == {"http://127.0.0.1:1"}
