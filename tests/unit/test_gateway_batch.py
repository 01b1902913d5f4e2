"""POST /api/jobs/batch."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from gateway.deps import Limits
from pipeline.domain.identity import id_of_element, id_of_key
from tests.gateway_world import GatewayWorld, gateway_world, keyed_batch, with_key

JOB = {"payload": "test job"}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


async def test_a_batch_answers_with_ids_in_input_order(world: GatewayWorld) -> None:
    answer = await world.post("/api/jobs/batch", [{"name": str(n)} for n in range(1200)])
    assert (answer.status, answer.json["accepted"]) == (202, 1200)
    assert answer.json["rejected"] == []
    assert [each.spec.name for each in world.intake.submissions] == [str(n) for n in range(1200)]
    assert answer.json["ids"] == [each.id for each in world.intake.submissions]


async def test_a_bad_element_costs_only_itself(world: GatewayWorld) -> None:
    answer = await world.post("/jobs/batch", [{"name": "a"}, {"delay": -1}, 3, {"name": "d"}])
    assert (answer.status, answer.json["accepted"]) == (202, 2)
    assert [(each["index"], each["code"]) for each in answer.json["rejected"]] == [
        (1, "invalid"),
        (2, "invalid"),
    ]
    assert answer.json["rejected"][0]["errors"][0]["pointer"] == "/delay"
    assert [each.spec.name for each in world.intake.submissions] == ["a", "d"]


async def test_a_batch_of_which_nothing_is_good_is_422(world: GatewayWorld) -> None:
    answer = await world.post("/api/jobs/batch", [{"delay": -1}, {"nmae": "x"}])
    assert (answer.status, answer.pointers) == (422, ["/0/delay", "/1/nmae"])
    assert [each["index"] for each in answer.json["rejected"]] == [0, 1]
    assert not world.intake.publishes


@pytest.mark.parametrize("body", [b"[]", b"{}", b"7", b"[{}", b""])
async def test_a_batch_that_is_no_list_of_jobs_is_422(world: GatewayWorld, body: bytes) -> None:
    answer = await world.post("/api/jobs/batch", body)
    assert (answer.status, answer.pointers) == (422, [""])


async def test_a_batch_may_be_a_job_a_line(world: GatewayWorld) -> None:
    lines = b'{"name":"a"}\n\n{"name":\n{"name":"c"}\r\n'
    answer = await world.post("/api/jobs/batch", lines, content_type="application/x-ndjson")
    assert answer.status == 202
    assert [each["index"] for each in answer.json["rejected"]] == [1]
    assert [each.spec.name for each in world.intake.submissions] == ["a", "c"]


async def test_a_batch_has_a_largest_number_of_jobs() -> None:
    async with gateway_world(limits=replace(Limits(), batch_jobs=3)) as world:
        assert (await world.post("/api/jobs/batch", [{}] * 3)).status == 202
        assert (await world.post("/api/jobs/batch", [{}] * 4)).status == 413


async def test_a_job_of_a_batch_has_the_size_of_a_job() -> None:
    async with gateway_world(limits=replace(Limits(), job_bytes=100)) as world:
        large = {"payload": "x" * 100}
        answer = await world.post("/api/jobs/batch", [{}, large])
        assert (answer.status, answer.json["accepted"]) == (202, 1)
        assert answer.json["rejected"][0]["code"] == "too_large"
        lines = b"{}\n" + json.dumps(large).encode()
        answer = await world.post("/api/jobs/batch", lines, content_type="application/x-ndjson")
        assert answer.json["rejected"][0]["code"] == "too_large"


async def test_a_batch_under_a_key_has_the_same_ids_again(world: GatewayWorld) -> None:
    jobs = [{"name": "a"}, {"delay": -1}, {"name": "c", "idempotency_key": "own"}]
    first = await keyed_batch(world, jobs)
    again = await keyed_batch(world, jobs)
    assert first.json["ids"] == again.json["ids"] == [id_of_element("k", 0), id_of_key("own")]
    assert len(world.intake.submissions) == 2


async def test_an_element_whose_key_names_another_job_is_rejected(world: GatewayWorld) -> None:
    await with_key(world, JOB, "a")
    jobs = [{"idempotency_key": "a"}, {"idempotency_key": "b"}, {"idempotency_key": "b", **JOB}]
    answer = await keyed_batch(world, jobs, key=None)
    assert answer.json["ids"] == [id_of_key("b")]
    assert [(each["index"], each["code"]) for each in answer.json["rejected"]] == [
        (0, "conflict"),
        (2, "conflict"),
    ]


async def test_the_key_of_a_deleted_job_is_not_accepted_alone_or_in_a_batch(
    world: GatewayWorld,
) -> None:
    """A 202 would name a job that is not there, and that ingest will not bring back (R2)."""
    first = await with_key(world, JOB)
    assert (await world.delete(f"/api/jobs/{first.json['id']}")).status == 204
    alone = await with_key(world, JOB)
    assert (alone.status, alone.json["code"], alone.pointers) == (
        409,
        "deleted",
        ["/idempotency_key"],
    )
    batch = await keyed_batch(world, [{**JOB, "idempotency_key": "order-7"}, JOB])
    assert batch.json["ids"] == [id_of_element("k", 1)]
    assert [(each["index"], each["code"]) for each in batch.json["rejected"]] == [(0, "deleted")]
    assert len(world.intake.submissions) == 2
    other = await with_key(world, {"payload": "another"})
    assert (other.status, other.json["code"]) == (422, "conflict")


async def test_of_two_first_batches_the_element_whose_body_does_not_stand_is_told(
    world: GatewayWorld,
) -> None:
    """H26, as with one job: both look before either is stored, and both publish."""
    key = {"idempotency_key": "k"}
    async with asyncio.TaskGroup() as group:
        mine = group.create_task(world.post("/api/jobs/batch", [{**key, **JOB}]))
        other = group.create_task(world.post("/api/jobs/batch", [{**key, "payload": 2}, {}]))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(world.intake.submissions) == 3
        await world.ingest()
        await world.clock.run(3)
    assert (mine.result().status, mine.result().json["rejected"]) == (202, [])
    assert (other.result().status, other.result().json["accepted"]) == (202, 1)
    assert [each["index"] for each in other.result().json["rejected"]] == [0]


async def test_a_keyed_batch_that_cannot_be_read_back_in_time_is_503_with_its_ids(
    world: GatewayWorld,
) -> None:
    request = asyncio.ensure_future(world.post("/api/jobs/batch", [JOB, JOB], idempotency_key="k"))
    await world.clock.run(1.9)
    assert not request.done()
    answer = await world.until(request, timedelta(seconds=0.2))
    assert (answer.status, answer.json["server"]) == (503, "MongoDB")
    assert answer.json["ids"] == [id_of_element("k", 0), id_of_element("k", 1)]


async def test_mongodb_gone_before_the_read_back_leaves_the_client_its_id(
    world: GatewayWorld,
) -> None:
    world.intake.hold()
    request = asyncio.ensure_future(world.post("/api/jobs", JOB, idempotency_key="k"))
    for _ in range(20):
        await asyncio.sleep(0)
    world.store.down = True
    world.intake.release()
    answer = await world.until(request, timedelta(seconds=1))
    assert (answer.status, answer.json["id"]) == (503, id_of_key("k"))


async def test_a_batch_in_doubt_is_503_with_its_ids(world: GatewayWorld) -> None:
    world.intake.silent = True
    answer = await world.post("/api/jobs/batch", [{}, {}])
    assert answer.status == 503
    assert answer.json["ids"] == [each.id for each in world.intake.submissions]
