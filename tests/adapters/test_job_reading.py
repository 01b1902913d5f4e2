"""What is read of jobs and queues, on the fake and on MongoDB."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from pipeline.domain.execution import Cancelled, ErrorInfo, Failed, Succeeded
from pipeline.domain.job import Kind
from pipeline.domain.limits import NO_LIMIT, Limit, Rate
from pipeline.domain.states import State
from pipeline.ports import JobFilter
from tests.store_world import World, a_world


@pytest.fixture(params=["fake", "mongodb"])
async def world(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, mongo_url) as world:
        yield world


async def test_a_list_is_newest_first_and_its_pages_do_not_overlap(world: World) -> None:
    ids = []
    for _ in range(7):
        world.clock.advance(0.001)
        ids.append(await world.queued())
    first = await world.store.list(JobFilter(), 4, None)
    await world.queued()
    second = await world.store.list(JobFilter(), 4, first.next_after)
    assert [job.id for job in (*first.jobs, *second.jobs)] == ids[::-1]
    assert second.next_after is None


FILTERS: list[tuple[JobFilter, Callable[[dict[str, str]], set[str]]]] = [
    (JobFilter(states=frozenset({State.PENDING})), lambda ids: {ids["later"]}),
    (JobFilter(states=frozenset({State.CANCELLED, State.PENDING})), lambda ids: {ids["later"]}),
    (JobFilter(queue="mail"), lambda ids: {ids["mail"]}),
    (JobFilter(kind=Kind.COMMAND), lambda ids: {ids["command"]}),
    (JobFilter(name="nightly-report"), lambda ids: {ids["named"]}),
    (JobFilter(q="nightly"), lambda ids: {ids["named"]}),
    (JobFilter(q=".*"), lambda ids: set()),
    (JobFilter(tag="eu"), lambda ids: {ids["tagged"]}),
]


@pytest.mark.parametrize(("wanted", "expected"), FILTERS)
async def test_filters(
    world: World, wanted: JobFilter, expected: Callable[[dict[str, str]], set[str]]
) -> None:
    ids = {
        "later": await world.queued(delay=60),
        "mail": await world.queued(queue="mail"),
        "command": await world.queued(command="true"),
        "named": await world.queued(name="nightly-report"),
        "tagged": await world.queued(tags=["eu", "x"]),
    }
    page = await world.store.list(wanted, 10, None)
    assert {job.id for job in page.jobs} == expected(ids)


async def test_created_bounds_are_half_open(world: World) -> None:
    first = await world.queued()
    at = world.now
    world.clock.advance(10)
    second = await world.queued()
    page = await world.store.list(JobFilter(created_after=world.now), 10, None)
    assert [job.id for job in page.jobs] == [second]
    page = await world.store.list(JobFilter(created_before=world.now), 10, None)
    assert [job.id for job in page.jobs] == [first]
    assert at < world.now


async def test_counts_tell_every_state(world: World) -> None:
    await world.queued(delay=60)
    await world.queued()
    await world.end(await world.started(), Succeeded())
    await world.end(await world.started(), Failed(ErrorInfo("x", "y"), retryable=False))
    await world.end(await world.started(), Cancelled())
    await world.store.bury(await world.queued())
    counts = await world.store.counts()
    assert {state: counts[state] for state in counts if counts[state]} == {
        State.PENDING: 1, State.QUEUED: 1, State.SUCCEEDED: 1, State.DEAD: 1, State.CANCELLED: 1,
    }  # fmt: skip


async def test_queued_jobs_come_in_windows_and_pages(world: World) -> None:
    ids = []
    for _ in range(5):
        world.clock.advance(1)
        ids.append(await world.queued())
    first = await world.store.queued_jobs(None, world.now, None, 2)
    assert [job.id for job in first] == ids[:2]
    assert first[-1].queued_at is not None
    after = (first[-1].queued_at, first[-1].id)
    assert [j.id for j in await world.store.queued_jobs(None, world.now, after, 9)] == ids[2:4]
    since = world.now - timedelta(seconds=1)
    assert [j.id for j in await world.store.queued_jobs(since, world.now, None, 9)] == [ids[3]]


async def test_running_jobs_are_those_started_before(world: World) -> None:
    old = await world.started("l1")
    world.clock.advance(10)
    await world.started("l2")
    found = await world.store.running_jobs(world.now, None, 10)
    assert [job.id for job in found] == [old.id]


async def test_pauses_are_remembered(world: World) -> None:
    await world.queued(queue="a")
    await world.store.pause_queue("b")
    assert await world.store.paused_queues() == {"b"}
    assert await world.store.active_queues() == {"a", "b"}
    await world.store.resume_queue("b")
    assert await world.store.paused_queues() == set()


async def test_a_limit_is_changed_only_if_it_is_still_what_was_read(world: World) -> None:
    one, two = Limit(concurrency=1), Limit(rate=Rate(count=10, per=60.0, burst=2))
    assert not await world.store.limit_queue("a", two, one)
    assert await world.store.limit_queue("a", one, NO_LIMIT)
    assert not await world.store.limit_queue("a", two, NO_LIMIT)
    assert await world.store.limit_queue("a", two, one)
    assert await world.store.limit_queue("a", NO_LIMIT, two)
    await world.store.pause_queue("a")
    assert await world.store.limit_queue("a", one, NO_LIMIT)
    assert await world.store.limited_queues() == {"a": one}


async def test_the_limit_of_a_queue_is_remembered_until_it_is_removed(world: World) -> None:
    limit = Limit(concurrency=3, rate=Rate(count=10, per=60.0, burst=2))
    await world.store.pause_queue("a")
    await world.store.limit_queue("a", limit)
    await world.store.limit_queue("b", Limit(concurrency=1))
    assert await world.store.limited_queues() == {"a": limit, "b": Limit(concurrency=1)}
    await world.store.limit_queue("b", NO_LIMIT)
    assert await world.store.limited_queues() == {"a": limit}
    assert await world.store.active_queues() >= {"a", "b"}
    assert await world.store.paused_queues() == {"a"}
