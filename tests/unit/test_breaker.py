"""The breaker of http jobs, in two workers that share what they know. Time is the test's."""

import asyncio
from datetime import timedelta

import pytest

from pipeline.domain.errors import Unavailable
from pipeline.ports import Wait
from pipeline.telemetry import REGISTRY
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.sick_targets import FakeSickTargets
from workers.breaker import Answered, Breaker, Failing, Passed

HOST, OTHER = "https://a.example", "https://b.example"
WITHIN = timedelta(seconds=15)
SICK = Failing("answered 503")


class World:
    """What two workers see."""

    def __init__(self, after: int = 3) -> None:
        self.clock = ManualClock()
        self.targets = FakeSickTargets(self.clock, SeededChance(1))
        self.one = Breaker(self.targets, self.clock, SeededChance(2), after)
        self.two = Breaker(self.targets, self.clock, SeededChance(3), after)

    async def fail(self, breaker: Breaker, times: int, origin: str = HOST) -> None:
        for _ in range(times):
            await breaker.heard(await self.passed(breaker, origin), SICK)

    async def passed(self, breaker: Breaker, origin: str = HOST) -> Passed:
        answer = await breaker.admit(origin, "q", WITHIN)
        assert isinstance(answer, Passed)
        return answer

    async def is_held(self, breaker: Breaker, origin: str = HOST) -> bool:
        return isinstance(await breaker.admit(origin, "q", WITHIN), Wait)


@pytest.fixture
def world() -> World:
    return World()


async def test_failures_in_a_row_stop_the_requests_of_that_target_alone(world: World) -> None:
    await world.fail(world.one, 2)
    assert not await world.is_held(world.one)
    await world.fail(world.one, 1)
    assert await world.is_held(world.one)
    assert not await world.is_held(world.one, OTHER)


async def test_an_answer_in_between_begins_the_count_anew(world: World) -> None:
    await world.fail(world.one, 2)
    await world.one.heard(await world.passed(world.one), Answered())
    await world.fail(world.one, 2)
    assert not await world.is_held(world.one)


async def test_the_other_workers_hear_of_it_within_a_second(world: World) -> None:
    await world.passed(world.two)
    await world.fail(world.one, 3)
    world.clock.advance(1)
    assert await world.is_held(world.two)


async def test_of_all_workers_one_probes(world: World) -> None:
    await world.fail(world.one, 3)
    world.clock.advance(5)
    probe = await world.passed(world.two)
    assert probe.probe is not None
    assert await world.is_held(world.one)
    assert await world.is_held(world.two)


async def test_a_probe_that_takes_long_keeps_the_others_waiting_for_a_minute_at_most(
    world: World,
) -> None:
    """A job that takes an hour is a bad probe: the target may be well all the while."""
    await world.fail(world.one, 3)
    world.clock.advance(5)
    slow = await world.one.admit(HOST, "q", timedelta(hours=1))
    assert isinstance(slow, Passed)
    world.clock.advance(59)
    assert await world.is_held(world.two)
    world.clock.advance(1)
    await world.two.heard(await world.passed(world.two), Answered())
    assert not await world.is_held(world.two)
    await world.one.heard(slow, SICK)  # one failure of a target that is well
    world.clock.advance(1)
    assert not await world.is_held(world.two)
    assert not await world.is_held(world.one)


async def test_a_probe_that_is_answered_lets_all_others_follow(world: World) -> None:
    await world.fail(world.one, 3)
    world.clock.advance(5)
    await world.two.heard(await world.passed(world.two), Answered())
    assert not await world.is_held(world.two)
    assert not await world.is_held(world.one)
    assert await world.targets.origins() == frozenset()


async def test_its_gauge_falls_with_the_answer_though_no_other_job_follows(world: World) -> None:
    def gauge() -> float | None:
        return REGISTRY.get_sample_value("dueq_http_targets_sick")

    await world.fail(world.two, 3)
    assert gauge() == 1
    world.clock.advance(5)
    await world.two.heard(await world.passed(world.two), Answered())
    assert gauge() == 0


async def test_a_worker_that_has_no_more_jobs_for_it_hears_too_that_it_is_well(
    world: World,
) -> None:
    def gauge() -> float | None:
        return REGISTRY.get_sample_value("dueq_http_targets_sick")

    keeping = asyncio.create_task(world.two.keep_current())
    await world.fail(world.two, 3)
    await world.clock.run(10)
    assert gauge() == 1
    await world.one.heard(await world.passed(world.one), Answered())
    world.targets.fail_next("origins", Unavailable, applied=False)
    await world.clock.run(10)
    assert gauge() == 1
    await world.clock.run(10)
    assert gauge() == 0
    keeping.cancel()


async def test_a_probe_that_says_nothing_of_the_target_leaves_it_to_the_next(world: World) -> None:
    """Else jobs that this worker may not send would keep those of the other waiting for ever."""
    await world.fail(world.one, 3)
    world.clock.advance(5)
    await world.two.heard(await world.passed(world.two), None)
    probe = await world.passed(world.one)
    assert probe.probe is not None
    assert await world.is_held(world.two)
    await world.one.heard(probe, Answered())
    assert not await world.is_held(world.two)


async def test_a_probe_that_fails_doubles_the_pause(world: World) -> None:
    await world.fail(world.one, 3)
    world.clock.advance(5)
    await world.fail(world.one, 1)
    world.clock.advance(9.9)
    assert await world.is_held(world.two)
    world.clock.advance(0.1)
    assert not await world.is_held(world.two)


async def test_what_was_under_way_when_it_fell_sick_changes_nothing(world: World) -> None:
    """A hundred requests time out ten seconds later: the probe is not put off for them."""
    under_way = [await world.passed(world.one) for _ in range(100)]
    await world.fail(world.one, 3)
    world.clock.advance(4.9)
    for passed in under_way:
        await world.one.heard(passed, SICK)
    world.clock.advance(0.1)
    assert (await world.passed(world.one)).probe is not None


async def test_a_target_that_says_when_is_left_alone_until_then(world: World) -> None:
    for _ in range(3):
        later = Failing("answered 429", timedelta(seconds=30))
        await world.one.heard(await world.passed(world.one), later)
    world.clock.advance(29.9)
    assert await world.is_held(world.one)
    world.clock.advance(0.1)
    assert not await world.is_held(world.one)


async def test_lost_with_redis_it_costs_a_few_failures_and_is_there_again(world: World) -> None:
    await world.fail(world.one, 3)
    world.targets.wipe()
    world.clock.advance(1)
    await world.fail(world.one, 3)
    assert await world.is_held(world.one)


async def test_without_redis_requests_go_out_as_if_there_were_no_breaker(world: World) -> None:
    await world.fail(world.one, 3)
    world.targets.go_down()
    assert not await world.is_held(world.one)
    await world.fail(world.one, 5)
    world.targets.come_back()
    world.clock.advance(1)
    assert await world.is_held(world.one)


async def test_a_request_to_a_healthy_target_costs_no_question(world: World) -> None:
    """But one a second, for all of them."""
    await world.passed(world.one)
    world.targets.go_down()
    for _ in range(10):
        await world.one.heard(await world.passed(world.one), Answered())
    world.clock.advance(0.9)
    world.targets.come_back()
    world.targets.fail_next("origins", Unavailable, applied=False)
    await world.passed(world.one)
    world.clock.advance(0.1)
    await world.passed(world.one)
    assert not world.targets._faults["origins"]


async def test_of_too_many_targets_the_oldest_counts_are_forgotten(world: World) -> None:
    await world.fail(world.one, 2)
    for number in range(10_000):
        await world.fail(world.one, 1, f"https://{number}.example")
    await world.fail(world.one, 1)
    assert not await world.is_held(world.one)


async def test_switched_off_it_holds_nothing_back() -> None:
    world = World(after=0)
    await world.fail(world.one, 100)
    assert not await world.is_held(world.one)
