"""Who works, over HTTP or not, on fakes: registered, listed, gone."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipeline.domain.states import State
from pipeline.ports import WatcherView, WorkerView
from tests.fakes.clock import START
from tests.http_worker_world import LEASE, Job, Shell, a_shell


@pytest_asyncio.fixture
async def shell() -> AsyncIterator[Shell]:
    async with a_shell() as shell:
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


async def test_a_worker_that_goes_is_listed_no_more(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    for status in (204, 404):
        assert (await shell.world.delete("/api/workers/w-1")).status == status
    assert (await shell.world.get("/api/workers")).json["items"] == []
    assert (await shell.next()).status == 404
    assert (await shell.end(job)).status == 200  # what it ran was its own
    assert shell.state(job_id) is State.SUCCEEDED


async def test_nobody_sends_a_worker_of_another_sort_away(shell: Shell) -> None:
    view = WorkerView("p-1", "here", 7, ["default"], 1, 1, START)
    await shell.world.queue.announce_worker(view, LEASE)
    assert (await shell.world.delete("/api/workers/p-1")).status == 404
    assert (await shell.world.delete("/api/workers/a%20b")).status == 404
    assert {each["id"] for each in (await shell.world.get("/workers")).json["items"]} == {
        "p-1", "w-1"
    }  # fmt: skip


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
