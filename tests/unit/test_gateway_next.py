"""Who asks for work over HTTP: one job for each request, at once, and if he asks again the same."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio

from pipeline.domain.states import State
from tests.http_worker_world import Shell, a_shell
from tests.support import eventually


@pytest_asyncio.fixture
async def shell() -> AsyncIterator[Shell]:
    async with a_shell() as shell:
        yield shell


async def test_a_worker_gets_jobs_of_its_own_queues_only(shell: Shell) -> None:
    await shell.register(queues=["a", "b"])
    await shell.queued(queue="c")
    mine = {await shell.queued(queue="a"), await shell.queued(queue="b")}
    assert {(await shell.job())["id"], (await shell.job())["id"]} == mine
    assert (await shell.next()).status == 204


async def test_the_heavier_queue_is_served_more_often_and_the_other_one_too(shell: Shell) -> None:
    await shell.register(queues=["a", "b:3"])
    for _ in range(100):
        await shell.queued(queue="a")
        await shell.queued(queue="b")
    queues = [(await shell.job())["queue"] for _ in range(100)]
    assert 60 <= queues.count("b") <= 90


async def test_whoever_waits_gets_a_job_that_comes_later_at_once(shell: Shell) -> None:
    waiting = asyncio.create_task(shell.next(wait=20))
    await shell.world.clock.run(5)
    assert not waiting.done()
    job_id = await shell.queued()
    answer = await shell.world.until(waiting, timedelta(0))
    assert answer.json["id"] == job_id


async def test_whoever_waits_gets_a_delayed_job_in_the_instant_it_is_due(shell: Shell) -> None:
    waiting = asyncio.create_task(shell.next(wait=20))
    job_id = await shell.delayed(seconds=3.456)
    await shell.world.clock.run(3.455)
    assert not waiting.done()
    answer = await shell.world.until(waiting, timedelta(seconds=0.001))
    assert answer.json["id"] == job_id


async def test_of_many_that_wait_one_looks_for_one_job(shell: Shell) -> None:
    for number in range(5):
        await shell.register(id=f"w-{number}")
    waiting = [asyncio.create_task(shell.next(worker=f"w-{n}", wait=20)) for n in range(5)]
    await shell.world.clock.run(1)
    ids = {await shell.queued() for _ in range(4)}
    await shell.world.clock.run(0)
    handed = [task.result().json["id"] for task in waiting if task.done()]
    assert sorted(handed) == sorted(ids)
    await shell.world.clock.run(20)
    assert sorted(task.result().status for task in waiting) == [200, 200, 200, 200, 204]


async def test_nothing_is_leased_for_a_client_that_has_gone(shell: Shell) -> None:
    waiting = asyncio.create_task(shell.next(wait=20))
    await shell.world.clock.run(5)
    shell.world.clients_stay = False
    job_id = await shell.queued()
    gone = asyncio.create_task(shell.next(wait=20))
    await shell.world.until(gone, timedelta(0))
    assert gone.result().status == 204
    answer = await shell.world.until(waiting, timedelta(seconds=1))
    assert answer.json["id"] == job_id


async def test_a_wakeup_for_a_client_that_has_gone_is_for_the_next(shell: Shell) -> None:
    shell.world.clients_stay = False
    going = asyncio.create_task(shell.next("r-1", wait=20))
    for _ in range(3):  # it has looked once
        await asyncio.sleep(0)
    shell.world.clients_stay = True
    staying = asyncio.create_task(shell.next("r-2", wait=20))
    await shell.world.clock.run(0)
    job_id = await shell.queued()
    answer = await shell.world.until(staying, timedelta(seconds=1))
    assert (answer.json["id"], going.result().status) == (job_id, 204)


async def test_a_wakeup_that_is_not_needed_goes_back(shell: Shell) -> None:
    """Rung for both of its queues, it finds a job in one of them."""
    await shell.register(queues=["a", "b"])
    waiting = asyncio.create_task(shell.next(wait=20))
    await shell.world.clock.run(1)
    await shell.queued(queue="a")
    await shell.queued(queue="b")
    answer = await shell.world.until(waiting, timedelta(0))
    left = {"a": "b", "b": "a"}[answer.json["queue"]]
    await eventually(lambda: shell.world.queue.has_token(left))
    assert not shell.leased(left)


async def test_a_gateway_that_waits_for_nobody_stands_in_nobodys_way(shell: Shell) -> None:
    waiting = asyncio.create_task(shell.next(wait=3))
    await shell.world.until(waiting, timedelta(seconds=3))
    await shell.queued()
    await shell.world.clock.run(0)  # its read still stood, and has eaten the token
    assert shell.world.queue.has_token("default")
    assert shell.world.queue.sleeping("default") == 0


async def test_who_says_goodbye_while_it_waits_is_given_nothing_more(shell: Shell) -> None:
    """It may have ended by now: the job would be lost for a lease, and that counts."""
    waiting = asyncio.create_task(shell.next(wait=20))
    await shell.world.clock.run(1)
    await shell.world.delete("/api/workers/w-1")
    job_id = await shell.queued()
    assert (await shell.world.until(waiting, timedelta(0))).status == 404
    assert shell.leased() == set()
    assert shell.state(job_id) is State.QUEUED
    await shell.register(id="w-2")
    assert (await shell.next(worker="w-2")).json["id"] == job_id


async def test_whoever_waits_for_nothing_is_told_so_in_time(shell: Shell) -> None:
    waiting = asyncio.create_task(shell.next(wait=20))
    answer = await shell.world.until(waiting, timedelta(seconds=20))
    assert answer.status == 204


async def test_the_same_request_again_is_the_same_job(shell: Shell) -> None:
    for _ in range(3):
        await shell.queued()
    first, again = await shell.job("r-1"), await shell.job("r-1")
    assert (again["id"], again["attempt"], again["lease"]) == (
        first["id"], first["attempt"], first["lease"]
    )  # fmt: skip
    assert len(shell.leased()) == 1
    assert (await shell.job("r-2"))["id"] != first["id"]


async def test_a_gateway_that_dies_before_the_start_has_promised_the_job(shell: Shell) -> None:
    ids = {await shell.queued() for _ in range(3)}
    shell.world.store.fail("start", applied=False)
    assert (await shell.next("r-1")).status == 503
    (promised,) = shell.leased()
    assert promised in ids
    assert shell.state(promised) is State.QUEUED
    assert (await shell.job("r-1"))["id"] == promised
    assert shell.leased() == {promised}


async def test_a_gateway_that_dies_after_the_start_loses_no_job(shell: Shell) -> None:
    job_id = await shell.queued()
    shell.world.store.fail("start", applied=True)
    assert (await shell.next("r-1")).status == 503
    job = await shell.job("r-1")
    assert (job["id"], job["attempt"]) == (job_id, 1)
    assert (await shell.end(job)).status == 200


async def test_a_request_that_waits_twice_gets_one_job(shell: Shell) -> None:
    waiting = [asyncio.create_task(shell.next("r-1", wait=20)) for _ in range(2)]
    await shell.world.clock.run(1)
    for _ in range(2):
        job_id = await shell.world.submitted()
        await shell.world.queue.add([shell.world.store.jobs[job_id].entry])
    await shell.world.clock.run(1)
    first, second = [task.result().json for task in waiting]
    assert (first["id"], first["lease"]) == (second["id"], second["lease"])
    assert shell.leased() == {first["id"]}  # the other one was put back
    assert (await shell.job("r-2"))["id"] != first["id"]


async def test_a_request_whose_job_is_over_gets_another(shell: Shell) -> None:
    await shell.queued()
    await shell.end(await shell.job("r-1"))
    assert (await shell.next("r-1")).status == 204
    job_id = await shell.queued()
    assert (await shell.job("r-1"))["id"] == job_id


async def test_a_job_that_moved_on_is_not_handed_out(shell: Shell) -> None:
    ghost = await shell.queued()
    await shell.world.store.cancel_waiting(ghost)
    job_id = await shell.queued()
    assert (await shell.next("r-1", wait=0)).status in (200, 204)
    assert ghost not in shell.leased()
    assert (await shell.job("r-1"))["id"] == job_id
