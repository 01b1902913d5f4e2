"""Workers over HTTP, on fakes: the same leases and the same fence as for a worker in Python."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from pipeline.domain.execution import Outcome
from pipeline.domain.states import State
from pipeline.ports import LiveNote, Progress, WatcherView, WorkerView
from pipeline.watchers.reaper import Reaper
from tests.fakes.clock import START
from tests.fakes.live_notes import FakeLiveNotes
from tests.gateway_world import Answer, GatewayWorld, gateway_world

LEASE = timedelta(seconds=30)
Job = dict[str, Any]


class Shell:
    """The hands of a worker over HTTP."""

    def __init__(self, world: GatewayWorld) -> None:
        self.world = world

    async def register(self, **body: Any) -> Answer:
        return await self.world.post("/api/workers/register", {"id": "w-1"} | body)

    async def next(self, request: str = "", worker: str = "w-1", wait: float = 0) -> Answer:
        name = f"&request={request}" if request else ""
        return await self.world.get(f"/api/workers/{worker}/next?wait={wait}{name}")

    async def job(self, request: str = "") -> Job:
        answer = await self.next(request)
        assert answer.status == 200, answer.body
        job: Job = answer.json
        return job

    async def beat(self, *jobs: Job) -> Answer:
        held = [{"id": job["id"], "attempt": job["attempt"], "lease": job["lease"]} for job in jobs]
        return await self.world.post("/api/workers/heartbeat", {"worker": "w-1", "jobs": held})

    async def write(self, job: Job, text: str, **more: Any) -> Answer:
        body = {"attempt": job["attempt"], "lease": job["lease"], "text": text} | more
        return await self.world.post(f"/api/jobs/{job['id']}/log", body)

    async def end(self, job: Job, **body: Any) -> Answer:
        body = {"attempt": job["attempt"], "lease": job["lease"], "outcome": "succeeded"} | body
        return await self.world.post(f"/api/jobs/{job['id']}/result", body)

    async def queued(self, **body: Any) -> str:
        job_id = await self.world.submitted(**body)
        stored = self.world.store.jobs[job_id]
        await self.world.queue.add([stored.entry])
        self.world.clock.advance(0.01)
        return job_id

    def state(self, job_id: str) -> State:
        return self.world.store.jobs[job_id].state

    def leased(self, queue: str = "default") -> set[str]:
        return set(self.world.queue.part(queue).leased)

    async def reap(self) -> None:
        world = self.world
        reaper = Reaper(world.store, world.queue, world.clock, LEASE)
        await world.queue.begin_generation("default", "g1")
        for _ in range(7):
            await reaper.step()
            await world.clock.run(5.1)
        await reaper.step()


@pytest_asyncio.fixture
async def shell() -> AsyncIterator[Shell]:
    async with gateway_world() as world:
        shell = Shell(world)
        world.clients_stay = True
        await shell.register()
        yield shell


async def test_a_worker_registers_and_is_listed_with_what_it_says(shell: Shell) -> None:
    answer = await shell.register(queues=["a", "b:3"], concurrency=2, host="h", pid=9, version="7")
    assert answer.json == {
        "id": "w-1", "queues": ["a", "b:3"], "lease_seconds": 30.0, "heartbeat_seconds": 10.0
    }  # fmt: skip
    (listed,) = (await shell.world.get("/api/workers")).json["items"]
    assert listed == {
        "id": "w-1", "host": "h", "pid": 9, "version": "7", "queues": ["a", "b"],
        "weights": "a:1,b:3", "concurrency": 2, "running": 0, "over": "http",
        "started_at": "2026-01-01T12:00:00.000Z", "last_seen_at": "2026-01-01T12:00:00.000Z",
    }  # fmt: skip


async def test_a_worker_that_names_no_id_is_given_one(shell: Shell) -> None:
    answers = [await shell.world.post("/workers/register", {}) for _ in range(2)]
    first, second = (answer.json["id"] for answer in answers)
    assert first != second
    assert (await shell.next(worker=first)).status == 204


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"queues": ["a b"]}, "/queues"),
        ({"queues": ["a:0"]}, "/queues"),
        ({"queues": ["a", "a:2"]}, "/queues"),
        ({"queues": []}, "/queues"),
        ({"concurrency": 0}, "/concurrency"),
        ({"id": "a b"}, "/id"),
        ({"name": "x"}, "/name"),
    ],
)
async def test_what_no_worker_can_be_is_refused(shell: Shell, body: Job, pointer: str) -> None:
    answer = await shell.register(**body)
    assert answer.status == 422
    assert answer.pointers == [pointer]


async def test_nobody_takes_the_name_of_a_worker_of_another_sort(shell: Shell) -> None:
    view = WorkerView("w-1", "here", 7, ["default"], 1, 1, START)
    await shell.world.queue.announce_worker(view, LEASE)
    assert (await shell.register()).status == 409
    assert (await shell.next()).status == 404


async def test_a_worker_that_is_not_known_is_told_to_register(shell: Shell) -> None:
    assert (await shell.next(worker="nobody")).status == 404
    shell.world.queue.wipe()
    assert (await shell.next()).status == 404
    assert (await shell.beat()).json["registered"] is False
    await shell.register()
    assert (await shell.beat()).json["registered"] is True


async def test_a_job_runs_from_the_moment_that_it_is_handed_out(shell: Shell) -> None:
    job_id = await shell.queued(payload={"n": 1})
    answer = await shell.next()
    job = answer.json
    assert (job["id"], job["attempt"], job["payload"]) == (job_id, 1, {"n": 1})
    assert job["lease_seconds"] == 30.0
    assert answer.headers["dueq-job-id"] == job_id
    assert answer.headers["dueq-attempt"] == "1"
    assert answer.headers["dueq-lease"] == job["lease"]
    stored = shell.world.store.jobs[job_id]
    assert (stored.state, stored.worker, stored.lease_id) == (State.RUNNING, "w-1", job["lease"])
    assert shell.leased() == {job_id}
    assert (await shell.next()).status == 204


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


async def test_whoever_waits_gets_a_job_that_comes_later(shell: Shell) -> None:
    waiting = asyncio.create_task(shell.next(wait=20))
    await shell.world.clock.run(5)
    assert not waiting.done()
    job_id = await shell.queued()
    answer = await shell.world.until(waiting, timedelta(seconds=1))
    assert answer.json["id"] == job_id


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


async def test_a_result_is_recorded_settled_and_acknowledged(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    answer = await shell.end(job, result={"n": 2})
    assert (answer.status, answer.json["outcome"]) == (200, "succeeded")
    assert shell.state(job_id) is State.SUCCEEDED
    assert shell.leased() == set()
    assert (await shell.world.get(f"/api/jobs/{job_id}")).json["result"] == {"n": 2}


async def test_the_same_result_again_is_the_same_answer(shell: Shell) -> None:
    await shell.queued()
    job = await shell.job()
    first, again = await shell.end(job, result=1), await shell.end(job, result=1)
    assert (again.status, again.json) == (200, first.json)


async def test_a_gateway_that_dies_after_the_record_is_finished_by_the_next(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    shell.world.store.fail("settle", applied=False)
    assert (await shell.end(job)).status == 503
    assert shell.state(job_id) is State.RUNNING
    assert (await shell.end(job)).status == 200
    assert shell.state(job_id) is State.SUCCEEDED


async def test_a_failure_is_tried_again_as_the_job_says(shell: Shell) -> None:
    job_id = await shell.queued(retry={"max_attempts": 2})
    failure: Job = {"outcome": "failed", "error": {"message": "exit 3"}, "retry_after": 7}
    await shell.end(await shell.job(), **failure)
    assert shell.state(job_id) is State.PENDING
    assert shell.world.store.jobs[job_id].due_at == shell.world.clock.now() + timedelta(seconds=7)
    shell.world.clock.advance(7)
    await shell.world.queue.add(await shell.world.store.dispatch(timedelta(seconds=2), 10))
    await shell.end(await shell.job(), **failure)
    assert shell.state(job_id) is State.DEAD


async def test_a_failure_that_is_not_retryable_is_the_end(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.end(job, outcome="failed", retryable=False, error={"message": "no", "type": "bad"})
    assert shell.state(job_id) is State.DEAD
    told = (await shell.world.get(f"/api/jobs/{job_id}")).json
    assert (told["reason"], told["last_error"]["type"]) == ("not_retryable", "bad")


async def test_what_is_released_runs_again_at_once_and_counts_as_nothing(shell: Shell) -> None:
    job_id = await shell.queued()
    assert (await shell.end(await shell.job(), outcome="released")).status == 200
    stored = shell.world.store.jobs[job_id]
    assert (stored.state, stored.failures, stored.losses) == (State.PENDING, 0, 0)


@pytest.mark.parametrize(
    "body",
    [
        {"outcome": "failed"},
        {"outcome": "cancelled"},
        {"outcome": "failed", "error": {"message": "x"}, "result": 1},
        {"error": {"message": "x"}},
        {"retry_after": 3},
        {"result": "x" * 70_000},
        {"attempt": 0},
    ],
)
async def test_a_result_that_says_nothing_clear_is_refused(shell: Shell, body: Job) -> None:
    job_id = await shell.queued()
    answer = await shell.end(await shell.job(), **body)
    assert answer.status == 422, answer.body
    assert shell.state(job_id) is State.RUNNING


async def test_a_worker_that_falls_silent_loses_its_job_and_its_late_result(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.reap()
    late = await shell.end(job, result="too late")
    assert late.status == 409
    assert "lost is recorded" in late.json["detail"]
    stored = shell.world.store.jobs[job_id]
    assert (stored.state, stored.losses) == (State.PENDING, 1)
    assert shell.world.store.records[f"{job_id}/1"].outcome is Outcome.LOST
    assert (await shell.write(job, "x")).status == 409
    assert (await shell.beat(job)).json["stop"] == [{"id": job_id, "attempt": 1}]


async def test_a_result_is_nothing_without_the_lease_it_was_given(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    assert (await shell.end(job | {"lease": "guessed"})).status == 409
    assert (await shell.end(job | {"attempt": 2})).status == 409
    assert shell.state(job_id) is State.RUNNING
    unknown = job | {"id": "00000000-0000-7000-8000-000000000000"}
    assert (await shell.end(unknown)).status == 404


async def test_a_heartbeat_keeps_the_job_over_its_lease(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.world.queue.begin_generation("default", "g1")
    reaper = Reaper(shell.world.store, shell.world.queue, shell.world.clock, LEASE)
    for _ in range(8):
        await shell.world.clock.run(10)
        assert (await shell.beat(job)).json == {
            "registered": True, "running": [{"id": job_id, "attempt": 1}], "stop": []
        }  # fmt: skip
        await reaper.step()
    (listed,) = (await shell.world.get("/workers")).json["items"]
    assert listed["running"] == 1
    assert (await shell.end(job)).status == 200


async def test_a_heartbeat_writes_the_lease_again_after_a_wipe(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    shell.world.queue.wipe()
    assert (await shell.beat(job)).json["running"] == [{"id": job_id, "attempt": 1}]
    assert shell.leased() == {job_id}


async def test_a_heartbeat_tells_of_a_job_that_was_cancelled(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.world.post(f"/api/jobs/{job_id}/cancel")
    assert (await shell.beat(job)).json["stop"] == [{"id": job_id, "attempt": 1}]
    assert shell.leased() == set()
    assert (await shell.end(job)).status == 409


async def test_a_job_that_its_worker_does_not_stop_in_time_has_timed_out(shell: Shell) -> None:
    job_id = await shell.queued(timeout=15)
    job = await shell.job()
    await shell.world.clock.run(20)
    assert (await shell.beat(job)).json["stop"] == []
    await shell.world.clock.run(10)
    assert (await shell.beat(job)).json["stop"] == [{"id": job_id, "attempt": 1}]
    assert shell.world.store.records[f"{job_id}/1"].outcome is Outcome.TIMED_OUT
    assert shell.leased() == set()


async def test_what_an_attempt_writes_is_its_log(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    for line in ("one\n", "two\n"):
        assert (await shell.write(job, line)).status == 204
    await shell.end(job)
    answer = await shell.world.get(f"/api/jobs/{job_id}/executions/1/log")
    assert answer.body == b"one\ntwo\n"


async def test_no_result_waits_for_its_log(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    shell.world.http_workers.go_down()
    assert (await shell.end(job)).status == 200
    assert shell.state(job_id) is State.SUCCEEDED


async def test_watchers_are_listed(shell: Shell) -> None:
    view = WatcherView("x", "host", 7, "1.0", START)
    await shell.world.queue.announce_watcher(view, LEASE)
    for path in ("/api/watchers", "/watchers"):
        assert (await shell.world.get(path)).json["items"] == [
            {
                "id": "x", "host": "host", "pid": 7, "version": "1.0",
                "started_at": "2026-01-01T12:00:00.000Z",
                "last_seen_at": "2026-01-01T12:00:00.000Z",
            }
        ]  # fmt: skip


async def test_progress_and_log_are_seen_while_the_job_runs(shell: Shell) -> None:
    live = FakeLiveNotes()
    shell.world.app.state.deps = replace(shell.world.app.state.deps, live=live)
    job_id = await shell.queued()
    job = await shell.job()
    await shell.write(job, "one\n", progress=0.5, note="row 21")
    await shell.write(job, "two\n")
    assert live.notes == {(job_id, 1): LiveNote(Progress(0.5, "row 21"), "one\ntwo\n")}
