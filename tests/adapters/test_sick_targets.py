"""Which targets are sick: one suite, in memory and on Redis, by a clock that the test holds."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
import redis

from pipeline.domain.instants import to_ms
from pipeline.ports import Probe, SickTarget, SickTargets, Wait, Well
from pipeline.queue.keys import SICK_TARGET, SICK_TARGETS
from pipeline.queue.sick_targets import RedisSickTargets
from tests.fakes.clock import START, ManualClock, SeededChance
from tests.fakes.sick_targets import FakeSickTargets
from workers.breaker import Breaker, Failing, Passed

HOST = "https://a.example:8443"
NONE = timedelta(0)
WITHIN = timedelta(seconds=15)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture(params=["fake", "redis"])
async def targets(
    request: pytest.FixtureRequest, clock: ManualClock, redis_url: str
) -> AsyncIterator[SickTargets]:
    if request.param == "fake":
        yield FakeSickTargets(clock, SeededChance(1))
        return
    async with RedisSickTargets(
        redis_url, SeededChance(1), lambda: str(to_ms(clock.now()))
    ) as real:
        yield real


async def trip(targets: SickTargets, probe: str | None = None, at_least: timedelta = NONE) -> bool:
    return await targets.trip(HOST, probe=probe, at_least=at_least, error="answered 503")


async def ask(targets: SickTargets, probe: str = "p", queue: str = "q") -> Well | Probe | Wait:
    return await targets.ask(HOST, queue, probe=probe, within=WITHIN)


async def wait(targets: SickTargets) -> float:
    """Seconds until it is worth asking again."""
    answer = await ask(targets)
    assert isinstance(answer, Wait)
    return answer.delay.total_seconds()


async def test_a_target_that_nobody_found_sick_is_well(targets: SickTargets) -> None:
    assert await ask(targets) == Well()
    assert await targets.origins() == frozenset()
    assert await targets.list() == []
    assert not await targets.close(HOST)


async def test_of_a_sick_one_everybody_waits_until_it_may_be_probed(
    targets: SickTargets,
) -> None:
    assert await trip(targets)
    assert await ask(targets) == Wait(timedelta(seconds=5), "answered 503")
    assert await targets.origins() == {HOST}


async def test_then_one_probes_and_all_others_wait_for_it(
    targets: SickTargets, clock: ManualClock
) -> None:
    await trip(targets)
    clock.advance(5)
    assert await ask(targets, "first") == Probe()
    assert isinstance(await ask(targets, "second"), Wait)


async def test_a_probe_that_is_never_heard_of_is_replaced(
    targets: SickTargets, clock: ManualClock
) -> None:
    """Its worker died."""
    await trip(targets)
    clock.advance(5)
    await ask(targets, "first")
    clock.advance(14.9)
    assert isinstance(await ask(targets, "second"), Wait)
    clock.advance(0.1)
    assert await ask(targets, "second") == Probe()
    assert not await trip(targets, probe="first")


async def test_a_probe_that_learnt_nothing_is_replaced_at_once(
    targets: SickTargets, clock: ManualClock
) -> None:
    await trip(targets)
    clock.advance(5)
    await ask(targets, "first")
    await targets.give_back(HOST, probe="first")
    assert await ask(targets, "second") == Probe()
    await targets.give_back(HOST, probe="first")
    assert isinstance(await ask(targets, "third"), Wait)
    assert await trip(targets, probe="second")


async def test_each_probe_that_fails_doubles_the_pause_up_to_five_minutes(
    targets: SickTargets, clock: ManualClock
) -> None:
    await trip(targets)
    pauses = []
    for _ in range(9):
        clock.advance(3600)
        assert await ask(targets, "p") == Probe()
        assert await trip(targets, probe="p")
        (sick,) = await targets.list()
        pauses.append((sick.probe_at - clock.now()).total_seconds())
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300, 300]


async def test_a_target_that_says_when_is_left_alone_so_long_but_never_over_an_hour(
    targets: SickTargets, clock: ManualClock
) -> None:
    await trip(targets, at_least=timedelta(seconds=77))
    assert await wait(targets) == 77
    clock.advance(77)
    await ask(targets, "p")
    await trip(targets, probe="p", at_least=timedelta(days=1))
    (sick,) = await targets.list()
    assert sick.probe_at - clock.now() == timedelta(hours=1)


async def test_what_was_under_way_and_fails_late_puts_no_probe_off(
    targets: SickTargets, clock: ManualClock
) -> None:
    await trip(targets)
    clock.advance(4.9)
    assert not await trip(targets)
    clock.advance(0.1)
    assert await ask(targets, "p") == Probe()
    assert not await trip(targets)
    assert not await trip(targets, probe="another")


async def test_those_held_back_return_in_line_and_leave_the_probe_time_to_answer(
    targets: SickTargets, clock: ManualClock
) -> None:
    await trip(targets)
    waits = [await wait(targets) for _ in range(1000)]
    assert waits[0] == 5.0
    assert waits[1] == 6.0
    assert {round(b - a, 6) for a, b in pairwise(waits[1:])} == {0.005}


async def test_while_a_probe_is_out_the_line_goes_on_where_it_was(
    targets: SickTargets, clock: ManualClock
) -> None:
    await trip(targets)
    waits = [await wait(targets) for _ in range(3)]
    clock.advance(5)
    await ask(targets, "p")
    assert await wait(targets) == pytest.approx(waits[-1] - 5 + 0.005)
    clock.advance(10)
    assert await wait(targets) == 1.0


async def test_nobody_is_put_off_for_more_than_an_hour(
    targets: SickTargets, clock: ManualClock
) -> None:
    """However long the line is: beyond an hour it is spread over the second half of one."""
    await trip(targets, at_least=timedelta(hours=1))
    waits = [await wait(targets) for _ in range(50)]
    assert waits[0] == 3600
    assert all(1800 <= each <= 3600 for each in waits[1:])
    assert len(set(waits)) > 40


async def test_an_answer_makes_it_well_and_forgets_the_line(
    targets: SickTargets, clock: ManualClock
) -> None:
    await trip(targets)
    assert await targets.close(HOST)
    assert not await targets.close(HOST)
    assert await ask(targets) == Well()
    assert not await trip(targets, probe="an old one")
    assert await ask(targets) == Well()
    assert await trip(targets)
    assert await wait(targets) == 5.0


async def test_it_is_told_since_when_why_and_for_which_queues(
    targets: SickTargets, clock: ManualClock
) -> None:
    await trip(targets)
    clock.advance(1)
    for queue in ("eu", "eu", "us"):
        await ask(targets, queue=queue)
    assert await targets.list() == [
        SickTarget(HOST, START, START + timedelta(seconds=5), 0, "answered 503", {"eu": 2, "us": 1})
    ]


async def test_a_target_that_nobody_asks_for_is_forgotten(redis_url: str) -> None:
    raw: Any = redis.Redis.from_url(redis_url, decode_responses=True)
    with raw:
        async with RedisSickTargets(redis_url, SeededChance(1)) as targets:
            await trip(targets)
            assert 0 < raw.ttl(SICK_TARGET.of(HOST)) <= 7200
            raw.delete(SICK_TARGET.of(HOST))  # it expires
            assert await ask(targets) == Well()
            assert await targets.list() == []
            assert raw.zcard(SICK_TARGETS.pattern) == 0


async def test_one_that_was_forgotten_falls_sick_again_like_any_other(
    redis_url: str, clock: ManualClock
) -> None:
    """Its hash has expired, the index still names it: workers must not go by that alone, or its
    failures are counted by nobody and its jobs spend all their attempts."""
    raw: Any = redis.Redis.from_url(redis_url, decode_responses=True)
    with raw:
        async with RedisSickTargets(redis_url, SeededChance(1)) as targets:
            breaker = Breaker(targets, clock, SeededChance(2), after=2)
            await trip(targets)
            raw.delete(SICK_TARGET.of(HOST))
            for _ in range(2):
                passed = await breaker.admit(HOST, "q", WITHIN)
                assert isinstance(passed, Passed)
                clock.advance(1)  # while it is under way the worker reads the index again
                await breaker.admit("https://b.example", "q", WITHIN)
                await breaker.heard(passed, Failing("answered 503"))
            assert isinstance(await breaker.admit(HOST, "q", WITHIN), Wait)
            assert raw.zrange(SICK_TARGETS.pattern, 0, -1) == [HOST]


async def test_who_looks_at_the_list_takes_nothing_out_of_the_index(redis_url: str) -> None:
    """It reads the index, finds no hash, and meanwhile the target falls sick again: taken out now,
    it would be sick and no worker would know."""
    raw: Any = redis.Redis.from_url(redis_url, decode_responses=True)
    with raw:
        async with RedisSickTargets(redis_url, SeededChance(1)) as targets:
            await trip(targets)
            raw.delete(SICK_TARGET.of(HOST))
            assert await targets.list() == []
            assert await targets.origins() == {HOST}


async def test_targets_that_are_never_called_again_do_not_pile_up(
    redis_url: str, clock: ManualClock
) -> None:
    """Every worker reads all of them every second. Who is still asked for stays."""
    async with RedisSickTargets(
        redis_url, SeededChance(1), lambda: str(to_ms(clock.now()))
    ) as targets:
        for number in range(20):
            origin = f"https://{number}.example"
            await targets.trip(origin, probe=None, at_least=NONE, error="gone")
        await trip(targets)
        clock.advance(7000)
        await ask(targets)
        assert len(await targets.origins()) == 21
        clock.advance(300)
        assert await targets.origins() == {HOST}
