"""A worker over HTTP has no more jobs at a time than it said that it runs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio

from tests.http_worker_world import Shell, a_shell


@pytest_asyncio.fixture
async def shell() -> AsyncIterator[Shell]:
    async with a_shell() as shell:
        yield shell


async def test_a_worker_is_given_no_more_than_it_said_that_it_runs_at_a_time(shell: Shell) -> None:
    await shell.register(concurrency=2)
    ids = {await shell.queued() for _ in range(5)}
    answers = await asyncio.gather(*(shell.next() for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 200, 429, 429, 429]
    (refused, *_) = (answer for answer in answers if answer.status == 429)
    assert "concurrency" in refused.json["detail"]
    assert refused.headers["retry-after"] == "1"
    running = {answer.json["id"] for answer in answers if answer.status == 200}
    assert shell.leased() == running
    assert set(shell.world.queue.part("default").ready) == ids - running


async def test_a_worker_is_given_the_next_job_when_one_has_ended(shell: Shell) -> None:
    await shell.register(concurrency=1)
    for _ in range(3):
        await shell.queued()
    for _ in range(2):
        job = await shell.job()
        assert (await shell.listed())["running"] == 1
        assert (await shell.next()).status == 429
        await shell.end(job)
        assert (await shell.listed())["running"] == 0
    waiting = asyncio.create_task(shell.next(wait=20))
    assert (await shell.world.until(waiting, timedelta(0))).status == 200


async def test_a_worker_that_asks_for_too_much_waits_until_it_may_have_it(shell: Shell) -> None:
    await shell.register(concurrency=1)
    for _ in range(2):
        await shell.queued()
    job = await shell.job()
    waiting = asyncio.create_task(shell.next(wait=20))
    await shell.world.clock.run(5)
    await shell.end(job)
    answer = await shell.world.until(waiting, timedelta(seconds=0.25))
    assert answer.status == 200


async def test_the_job_of_an_answer_that_was_lost_has_its_place_for_a_lease(shell: Shell) -> None:
    """Asked without a name, nobody can know that it is the same request again."""
    await shell.register(concurrency=1)
    for _ in range(2):
        await shell.queued()
    await shell.job()
    for _ in range(3):
        assert (await shell.next()).status == 429
        await shell.world.clock.run(10)
    assert (await shell.next()).status == 200


async def test_the_same_request_again_has_the_same_place_for_a_lease(shell: Shell) -> None:
    await shell.register(concurrency=1)
    for _ in range(2):
        await shell.queued()
    first = await shell.job("r-1")
    await shell.world.clock.run(20)
    again = await shell.job("r-1")
    assert first["lease"] == again["lease"]
    await shell.world.clock.run(20)
    assert (await shell.next("r-2")).status == 429


async def test_a_job_that_was_lost_or_cancelled_frees_its_place(shell: Shell) -> None:
    await shell.register(concurrency=1)
    for _ in range(3):
        await shell.queued()
    job = await shell.job()
    await shell.world.post(f"/api/jobs/{job['id']}/cancel")
    assert (await shell.next()).status == 429  # it runs there until it is told
    assert (await shell.beat(job)).json["stop"]
    job = await shell.job()
    await shell.world.post(f"/api/jobs/{job['id']}/cancel")
    assert (await shell.end(job)).status == 409
    assert (await shell.next()).status == 200


async def test_a_heartbeat_after_a_wipe_brings_back_what_runs(shell: Shell) -> None:
    await shell.register(concurrency=1)
    for _ in range(2):
        await shell.queued()
    job = await shell.job()
    shell.world.queue.wipe()
    shell.world.http_workers.wipe()
    await shell.beat(job)
    await shell.register(concurrency=1)
    assert (await shell.listed())["running"] == 1
    assert (await shell.next()).status == 429


async def test_a_full_worker_keeps_no_wakeup_from_others(shell: Shell) -> None:
    await shell.register(concurrency=1)
    await shell.queued()
    await shell.job()
    full = asyncio.create_task(shell.next(wait=20))
    await shell.register(id="w-2")
    idle = asyncio.create_task(shell.next(worker="w-2", wait=20))
    await shell.world.clock.run(1)
    job_id = await shell.queued()
    answer = await shell.world.until(idle, timedelta(0))
    assert answer.json["id"] == job_id
    assert not full.done()
    assert (await shell.world.until(full, timedelta(seconds=20))).status == 429


async def test_a_job_that_moved_on_takes_up_no_place(shell: Shell) -> None:
    await shell.register(concurrency=1)
    await shell.world.store.cancel_waiting(await shell.queued())
    job_id = await shell.queued()
    waiting = asyncio.create_task(shell.next(wait=5))
    assert (await shell.world.until(waiting, timedelta(0))).json["id"] == job_id


async def test_who_becomes_full_while_it_waits_lets_others_be_rung(shell: Shell) -> None:
    await shell.register(concurrency=1)
    await shell.register(id="w-2")
    waiting = [asyncio.create_task(shell.next(wait=20)) for _ in range(2)]
    other = asyncio.create_task(shell.next(worker="w-2", wait=20))
    await shell.world.clock.run(1)
    ids = {await shell.queued(), await shell.queued()}
    await shell.world.clock.run(0)
    (handed,) = [task.result() for task in waiting if task.done()]
    assert {handed.json["id"], other.result().json["id"]} == ids
    other = asyncio.create_task(shell.next(worker="w-2", wait=20))
    await shell.world.clock.run(0)
    job_id = await shell.queued()
    assert (await shell.world.until(other, timedelta(0))).json["id"] == job_id
    await shell.world.clock.run(20)
    assert sorted(task.result().status for task in waiting) == [200, 429]
