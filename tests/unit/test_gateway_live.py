"""What a running job tells is shown with it, and its record has the last of it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipeline.domain.execution import Cancelled, ErrorInfo, Failed, Succeeded
from pipeline.ports import LiveNote, Progress
from tests.gateway_world import GatewayWorld, gateway_world

HALF = LiveNote(Progress(0.5, "half"), "line 1\nline 2\n")


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


async def test_a_running_job_shows_its_progress_alone_and_in_the_list(world: GatewayWorld) -> None:
    job = await world.started()
    world.live.notes[job.id, 1] = HALF
    shown = (await world.get(f"/api/jobs/{job.id}")).json
    assert shown["progress"] == {"fraction": 0.5, "note": "half"}
    (listed,) = (await world.get("/api/jobs")).json["items"]
    assert listed["progress"] == shown["progress"]


async def test_a_job_without_progress_has_none(world: GatewayWorld) -> None:
    job = await world.started()
    assert (await world.get(f"/api/jobs/{job.id}")).json["progress"] is None
    world.live.notes[job.id, 1] = LiveNote(None, "a line\n")
    assert (await world.get(f"/api/jobs/{job.id}")).json["progress"] is None


async def test_after_the_end_the_record_tells_whatever_redis_still_has(world: GatewayWorld) -> None:
    job = await world.started()
    world.live.notes[job.id, 1] = HALF
    report = {"progress": {"fraction": 1.0, "note": None}, "log": "all of it\n"}
    await world.end(job, Succeeded(None, report))
    shown = (await world.get(f"/api/jobs/{job.id}")).json
    assert shown["progress"] == {"fraction": 1.0, "note": None}
    log = await world.get(f"/api/jobs/{job.id}/executions/1/log")
    assert log.body == b"all of it\n"


async def test_the_log_of_a_running_attempt_is_what_it_has_written_by_now(
    world: GatewayWorld,
) -> None:
    job = await world.started()
    path = f"/api/jobs/{job.id}/executions/1/log"
    assert ((await world.get(path)).status, (await world.get(path)).body) == (200, b"")
    world.live.notes[job.id, 1] = HALF
    assert (await world.get(path)).body == b"line 1\nline 2\n"
    assert (await world.get(f"/api/jobs/{job.id}/executions/2/log")).status == 404


async def test_the_log_of_a_failed_task_goes_before_the_story_of_its_error(
    world: GatewayWorld,
) -> None:
    job = await world.started()
    error = ErrorInfo("ValueError", "broken", "Traceback …")
    await world.end(job, Failed(error, report={"log": "loading\n"}))
    log = await world.get(f"/api/jobs/{job.id}/executions/1/log")
    assert log.body.decode() == "loading\nTraceback …\n"


@pytest.mark.parametrize(
    ("body", "shown"),
    [("no such order\n", "no such order\nanswered 404\n"), ({"base64": "AP8="}, "answered 404\n")],
)
async def test_the_log_of_an_http_job_is_what_it_was_answered(
    world: GatewayWorld, body: object, shown: str
) -> None:
    job = await world.started()
    report = {"status": 404, "headers": {}, "body": body, "truncated": False}
    await world.end(job, Failed(ErrorInfo("http_status", "answered 404"), report=report))
    log = await world.get(f"/api/jobs/{job.id}/executions/1/log")
    assert log.body.decode() == shown
    assert log.headers["x-content-type-options"] == "nosniff"


async def test_of_a_cancelled_attempt_the_last_that_it_told_is_shown_for_a_while(
    world: GatewayWorld,
) -> None:
    job = await world.started()
    world.live.notes[job.id, 1] = HALF
    await world.end(job, Cancelled())
    assert (await world.get(f"/api/jobs/{job.id}/executions/1/log")).body == b"line 1\nline 2\n"


async def test_without_redis_a_running_job_is_shown_all_the_same(world: GatewayWorld) -> None:
    job = await world.started()
    world.live.go_down()
    answer = await world.get(f"/api/jobs/{job.id}")
    assert (answer.status, answer.json["progress"]) == (200, None)
    assert (await world.get(f"/api/jobs/{job.id}/executions/1/log")).status == 200


async def test_a_cancel_of_a_running_job_nudges_its_worker_if_redis_is_there(
    world: GatewayWorld,
) -> None:
    first, second = await world.started(), await world.started()
    assert first.worker is not None
    nudged = asyncio.ensure_future(world.queue.await_nudge(first.worker))
    assert (await world.post(f"/api/jobs/{first.id}/cancel")).status == 200
    await asyncio.wait_for(nudged, 5)
    world.queue.go_down()
    assert (await world.post(f"/api/jobs/{second.id}/cancel")).status == 200
