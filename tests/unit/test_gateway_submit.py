"""POST /api/jobs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from pipeline.domain.execution import Succeeded
from pipeline.domain.identity import id_of_key
from tests.builders import a_claim
from tests.fakes.clock import START
from tests.gateway_world import GatewayWorld, gateway_world, with_key

JOB = {"payload": "test job"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


# ----------------------------------------------------------------------------------------- one


@pytest.mark.parametrize("path", ["/api/jobs", "/jobs"])
async def test_a_job_is_accepted_and_says_where_it_is(world: GatewayWorld, path: str) -> None:
    answer = await world.post(path, JOB)
    assert answer.status == 202
    (submission,) = world.intake.submissions
    assert answer.json == {
        "id": submission.id,
        "status": "queued",
        "kind": "task",
        "queue": "default",
        "due_at": "2026-01-01T12:00:00.000Z",
    }
    assert answer.headers["location"] == f"/api/jobs/{submission.id}"
    assert (submission.body, submission.accepted_at) == (JOB, START)


async def test_a_delayed_job_is_pending(world: GatewayWorld) -> None:
    answer = await world.post("/api/jobs", {"delay": 30})
    assert (answer.json["status"], answer.json["due_at"]) == ("pending", "2026-01-01T12:00:30.000Z")


async def test_there_is_no_202_before_the_confirm(world: GatewayWorld) -> None:
    world.intake.hold()
    async with asyncio.TaskGroup() as group:
        request = group.create_task(world.post("/api/jobs", JOB))
        for _ in range(20):
            await asyncio.sleep(0)
        assert world.intake.submissions
        assert not request.done()
        world.intake.release()
    assert request.result().status == 202


async def test_an_unknown_outcome_is_503_with_the_id(world: GatewayWorld) -> None:
    world.intake.silent = True
    answer = await world.post("/api/jobs", JOB)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["id"] == world.intake.submissions[0].id


async def test_without_rabbitmq_a_job_is_refused_and_the_server_named(world: GatewayWorld) -> None:
    world.intake.down = True
    answer = await world.post("/api/jobs", JOB)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json["server"] == "RabbitMQ"
    assert "id" not in answer.json


async def test_without_mongodb_a_job_is_accepted_all_the_same(world: GatewayWorld) -> None:
    world.store.down = True
    assert (await world.post("/api/jobs", JOB)).status == 202


async def test_the_trace_of_the_caller_goes_with_the_job(world: GatewayWorld) -> None:
    await world.post("/api/jobs", JOB, traceparent=TRACE)
    await world.post("/api/jobs", JOB, traceparent="nonsense")
    assert [each.traceparent for each in world.intake.submissions] == [TRACE, None]


async def test_the_same_key_and_body_is_the_same_job(world: GatewayWorld) -> None:
    first = await with_key(world, JOB)
    again = await with_key(world, JOB)
    assert (first.status, again.status) == (202, 202)
    assert first.json["id"] == again.json["id"] == id_of_key("order-7")
    assert len(world.intake.submissions) == 1


async def test_the_key_may_stand_in_the_header_or_in_the_body(world: GatewayWorld) -> None:
    first = await with_key(world, JOB)
    again = await with_key(world, {**JOB, "idempotency_key": "order-7"}, key=None)
    assert first.json["id"] == again.json["id"]


async def test_two_different_keys_are_an_error(world: GatewayWorld) -> None:
    answer = await world.post("/api/jobs", {**JOB, "idempotency_key": "a"}, idempotency_key="b")
    assert (answer.status, answer.pointers) == (422, ["/idempotency_key"])
    assert not world.intake.submissions


async def test_the_same_key_for_another_job_is_an_error(world: GatewayWorld) -> None:
    await with_key(world, JOB)
    answer = await with_key(world, {"payload": "another"})
    assert (answer.status, answer.pointers) == (422, ["/idempotency_key"])
    assert len(world.intake.submissions) == 1


async def test_of_two_first_requests_the_one_whose_body_does_not_stand_is_told(
    world: GatewayWorld,
) -> None:
    """H26: both look before either is stored, so both publish. Ingest keeps the first; whoever
    reads back another body than his own hears it instead of a 202."""
    async with asyncio.TaskGroup() as group:
        one = group.create_task(world.post("/api/jobs", JOB, idempotency_key="k"))
        other = group.create_task(world.post("/api/jobs", {"payload": 2}, idempotency_key="k"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(world.intake.submissions) == 2
        await world.ingest()
        await world.clock.run(2)
    assert sorted([one.result().status, other.result().status]) == [202, 422]


async def test_a_keyed_job_that_cannot_be_read_back_in_time_is_503_with_its_id(
    world: GatewayWorld,
) -> None:
    request = asyncio.ensure_future(world.post("/api/jobs", JOB, idempotency_key="k"))
    await world.clock.run(1.9)
    assert not request.done()
    answer = await world.until(request, timedelta(seconds=0.2))
    assert (answer.status, answer.json["id"]) == (503, id_of_key("k"))


async def test_with_a_key_and_without_mongodb_nothing_is_published(world: GatewayWorld) -> None:
    world.store.down = True
    answer = await world.post("/api/jobs", JOB, idempotency_key="k")
    assert (answer.status, answer.json["server"]) == (503, "MongoDB")
    assert not world.intake.submissions


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_has_a_length(world: GatewayWorld, key: str) -> None:
    answer = await world.post("/api/jobs", JOB, idempotency_key=key)
    assert (answer.status, answer.pointers) == (422, ["/idempotency_key"])


# ---------------------------------------------------------------------------------------- wait


async def test_prefer_wait_answers_with_the_ended_job(world: GatewayWorld) -> None:
    request = asyncio.ensure_future(world.post("/api/jobs", JOB, prefer="wait=10"))
    await world.clock.run(0.1)
    await world.ingest()
    await world.clock.run(1)
    assert not request.done()
    (job_id,) = world.store.jobs
    await end(world, job_id)
    answer = await world.until(request, timedelta(seconds=1))
    assert (answer.status, answer.headers["preference-applied"]) == (200, "wait")
    assert (answer.json["status"], answer.json["result"]) == ("succeeded", "test job")


async def test_a_wait_that_is_over_says_that_the_job_is_accepted(world: GatewayWorld) -> None:
    request = asyncio.ensure_future(world.post("/api/jobs", JOB, prefer="respond-async, wait=2"))
    await world.clock.run(1.9)
    assert not request.done()
    assert (await world.until(request, timedelta(seconds=0.2))).status == 202


async def test_nobody_waits_longer_than_a_minute(world: GatewayWorld) -> None:
    request = asyncio.ensure_future(world.post("/api/jobs", JOB, prefer="wait=86400"))
    assert (await world.until(request, timedelta(seconds=60.1))).status == 202


async def test_a_process_that_stops_keeps_nobody_waiting(world: GatewayWorld) -> None:
    request = asyncio.ensure_future(world.post("/api/jobs", JOB, prefer="wait=60"))
    await world.clock.run(1)
    world.app.state.stopping = True
    assert (await world.until(request, timedelta(seconds=1))).status == 202


async def end(world: GatewayWorld, job_id: str) -> None:
    """The job starts and succeeds."""
    (job,) = await world.store.start([job_id], a_claim(at=world.clock.now()))
    await world.end(job, Succeeded("test job"))
