"""What a person sees of queues and workers, and does to them: one suite, in memory and on Redis."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from pipeline.ports import Death, WorkerView
from tests.fakes.clock import START
from tests.queue_worlds import TTL, World, a_world


@pytest_asyncio.fixture(params=["fake", "redis"])
async def world(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, redis_url) as world:
        yield world


async def test_nothing_is_leased_from_a_paused_queue(world: World) -> None:
    await world.add("a")
    await world.add("b", due_in=1)
    await world.queue.pause("default")
    paused = await world.lease("L1")
    assert (paused.job_ids, paused.paused, paused.next_due_at) == ([], True, None)
    assert (await world.queue.view("default")).paused
    world.take_token()
    await world.queue.resume("default")
    assert world.take_token()
    resumed = await world.lease("L2")
    assert (resumed.job_ids, resumed.paused) == (["a"], False)


async def test_a_pause_holds_for_one_queue_alone(world: World) -> None:
    await world.queue.pause("mail")
    await world.add("a")
    assert (await world.lease("L1")).job_ids == ["a"]


async def test_a_view_counts_what_is_due_as_ready_though_nobody_fetched_it(world: World) -> None:
    await world.add("old", due_in=-5, priority=0)
    await world.add("new", due_in=-1, priority=9)
    await world.add("soon", due_in=2)
    await world.add("later", due_in=60)
    await world.add("running", due_in=-9, priority=9)
    await world.lease("L1", limit=1)
    world.advance(2)
    view = await world.queue.view("default")
    assert (view.delayed, view.ready, view.leased, view.paused) == (1, 3, 1, False)
    assert view.oldest_wait == timedelta(seconds=7)


async def test_the_views_of_many_queues_are_those_of_each_in_order(world: World) -> None:
    await world.add("a", due_in=-3, priority=7)
    await world.queue.pause("q3")
    names = ["q3", "default", *(f"q{number}" for number in range(4, 1010))]
    views = await world.queue.views(names)
    assert [view.name for view in views] == names
    assert views[1] == await world.queue.view("default")
    assert (views[1].ready, views[1].oldest_wait) == (1, timedelta(seconds=3))
    assert [view.name for view in views if view.paused] == ["q3"]
    assert list(await world.queue.views([])) == []


async def test_the_oldest_wait_may_be_that_of_a_job_nobody_fetched(world: World) -> None:
    await world.add("a", due_in=1)
    world.advance(4)
    assert (await world.queue.view("default")).oldest_wait == timedelta(seconds=3)


async def test_a_queue_that_nobody_knows_is_empty(world: World) -> None:
    view = await world.queue.view("nothing")
    assert (view.name, view.delayed, view.ready, view.leased) == ("nothing", 0, 0, 0)
    assert view.oldest_wait == timedelta()
    assert list(await world.queue.peek("nothing", 5)) == []


async def test_a_peek_shows_the_order_in_which_jobs_will_be_leased(world: World) -> None:
    await world.add("later", due_in=60, priority=9)
    await world.add("sooner", due_in=30)
    await world.add("fetched", due_in=-1)
    await world.add("urgent", due_in=2, priority=9)
    world.advance(2)
    peeked = await world.queue.peek("default", 10)
    assert [(p.job_id, p.priority, p.ready) for p in peeked] == [
        ("urgent", 9, True),
        ("fetched", 5, True),
        ("sooner", 5, False),
        ("later", 9, False),
    ]
    assert peeked[0].due_at == world.due(0)
    assert await world.queue.peek("default", 1) == peeked[:1]


async def test_workers_are_known_until_they_fall_silent(world: World) -> None:
    views = [
        WorkerView(name, "host", 7, ["default", "mail"], 4, 2, START, {"version": "1"})
        for name in ("w1", "w2")
    ]
    for view in views:
        await world.queue.announce_worker(view, TTL)
    assert await world.queue.workers() == views
    await world.queue.announce_worker(replace(views[0], running=0, extra={}), TTL)
    assert await world.queue.workers() == [replace(views[0], running=0, extra={}), views[1]]
    await world.queue.retract_worker("w1")
    assert await world.queue.workers() == views[1:]


async def test_the_end_of_a_worker_is_remembered_under_its_id(world: World) -> None:
    await world.queue.announce_worker(WorkerView("w1", "here", 7, ["default"], 4, 2, START), TTL)
    await world.queue.announce_worker(WorkerView("w2", "there", 7, ["default"], 4, 2, START), TTL)
    death = Death(pid=7, host="here", signal="SIGKILL", exit_code=None, log="its last words")
    assert await world.queue.report_death(death)
    assert await world.queue.deaths(["w1", "w2"]) == {"w1": death}
    assert [view.id for view in await world.queue.workers()] == ["w2"]
    assert not await world.queue.report_death(replace(death, pid=8))
    assert await world.queue.deaths([]) == {}
