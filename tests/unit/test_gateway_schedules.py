"""Schedules are made, found and described."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.deps import Limits
from pipeline.domain.errors import UnknownOutcome
from tests.gateway_schedules import NINE, created, stored, watched
from tests.gateway_world import GatewayWorld, gateway_world


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


# ------------------------------------------------------------------------------------------- create


async def test_a_schedule_is_stored_and_says_when_it_fires(world: GatewayWorld) -> None:
    answer = await world.post("/api/schedules", NINE)
    assert answer.status == 201
    schedule_id = answer.json["id"]
    assert answer.headers["location"] == f"/api/schedules/{schedule_id}"
    assert answer.headers["etag"] == '"1"'
    assert (await stored(world, schedule_id)).body == NINE
    assert answer.json == {
        **NINE,
        "id": schedule_id,
        "job": {},
        "misfire": "latest",
        "misfire_grace": 3600.0,
        "overlap": "allow",
        "jitter": 0.0,
        "start_at": None,
        "end_at": None,
        "paused": False,
        "gap": None,
        "repeat": None,
        "in_words": "At 09:00 on Monday through Friday",
        "next_fire_at": "2026-01-02T08:00:00.000Z",
        "last_fire_at": None,
        "version": 1,
        "created_at": "2026-01-01T12:00:00.000Z",
        "updated_at": "2026-01-01T12:00:00.000Z",
    }
    assert (await world.get(answer.headers["location"])).json == answer.json


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"cron": "0 0 30 2 *"}, ["/cron"]),
        ({"cron": "0 9 * * *", "job": {"http": {"url": "nowhere"}}}, ["/job/http/url"]),
        ({"cron": "0 9 * * *", "job": {"delay": 5}}, ["/job/delay"]),
        ({"cron": "0 9 * * *", "overlp": "skip", "jitter": -1}, ["/jitter", "/overlp"]),
        (b'{"every": 60, "job": {"payload": NaN}}', [""]),
        (b'{"every": 60, "job": {"payload": 9223372036854775808}}', ["/job/payload"]),
        (b"[" * 40 + b"]" * 40, ["/0" * 32]),
        (b"", [""]),
    ],
)
async def test_a_bad_one_is_refused_with_its_places_and_nothing_is_stored(
    world: GatewayWorld, body: Any, pointers: list[str]
) -> None:
    answer = await world.post("/api/schedules", body)
    assert answer.status == 422
    assert sorted(answer.pointers) == pointers
    assert world.schedules.schedules == {}


async def test_it_is_as_large_as_a_job_at_most_and_json() -> None:
    async with gateway_world(limits=Limits(job_bytes=100)) as world:
        assert (await world.post("/api/schedules", {"x": "y" * 100})).status == 413
        lines = await world.post("/api/schedules", NINE, content_type="application/x-ndjson")
        assert lines.status == 415


async def test_the_same_key_and_body_is_the_same_schedule_another_body_is_an_error(
    world: GatewayWorld,
) -> None:
    first = await world.post("/api/schedules", NINE, idempotency_key="k")
    again = await world.post("/api/schedules", NINE, idempotency_key="k")
    assert (again.status, again.json) == (201, first.json)
    other = await world.post("/api/schedules", {"every": 60}, idempotency_key="k")
    assert (other.status, other.json["code"]) == (422, "conflict")
    assert len(world.schedules.schedules) == 1


async def test_two_at_once_under_one_key_make_one_schedule(world: GatewayWorld) -> None:
    answers = await asyncio.gather(
        *(world.post("/api/schedules", NINE, idempotency_key="k") for _ in range(5))
    )
    assert {answer.json["id"] for answer in answers} == set(world.schedules.schedules)


async def test_an_unknown_outcome_is_503_with_the_id(world: GatewayWorld) -> None:
    world.schedules.fail_next("insert_schedule", UnknownOutcome, applied=True)
    answer = await world.post("/api/schedules", NINE)
    assert (answer.status, list(world.schedules.schedules)) == (503, [answer.json["id"]])


async def test_without_mongodb_it_is_503(world: GatewayWorld) -> None:
    world.store.down = True
    answer = await world.post("/api/schedules", NINE)
    assert (answer.status, answer.json["server"]) == (503, "MongoDB")


# --------------------------------------------------------------------------------------------- list


async def test_a_list_is_newest_first_in_pages_and_by_the_start_of_the_name(
    world: GatewayWorld,
) -> None:
    ids = []
    for number in range(5):
        ids.append(await created(world, name=f"{'ab'[number % 2]}{number}", every=60))
        world.clock.advance(1)
    first = (await world.get("/api/schedules?limit=3")).json
    rest = (await world.get(f"/api/schedules?limit=3&cursor={first['next_cursor']}")).json
    assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    named = (await world.get("/api/schedules?q=b")).json["items"]
    assert [each["name"] for each in named] == ["b3", "b1"]
    assert (await world.get("/api/schedules?limit=501")).pointers == ["/limit"]
    assert (await world.get("/api/schedules?nme=x")).pointers == ["/nme"]
    assert (await world.get("/api/schedules?cursor=x")).pointers == ["/cursor"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"),
        ("POST", "/trigger"), ("GET", "/preview"), ("GET", "/fires"),
    ],
)  # fmt: skip
async def test_one_that_is_not_there_is_404(world: GatewayWorld, method: str, path: str) -> None:
    for unknown in (world.chance.job_id(), "no-uuid"):
        parts = [b"{}"] if method == "PATCH" else []
        url = f"/api/schedules/{unknown}{path}"
        answer = await world.request(method, url, parts, content_type="application/json")
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


# -------------------------------------------------------------------------------------- description


async def test_the_description_has_the_fields_that_the_answers_have(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=3600, name="x")
    world.clock.advance(3600)
    await watched(world, schedule_id)
    path = f"/api/schedules/{schedule_id}"
    answers = {
        "Schedule": await world.get(path),
        "Schedules": await world.get("/api/schedules"),
        "Preview": await world.get(f"{path}/preview"),
        "Fires": await world.get(f"{path}/fires"),
        "Forecast": await world.post("/api/schedules/forecast"),
        "Submitted": await world.post(f"{path}/trigger"),
    }
    shapes = (await world.get("/openapi.json")).json["components"]["schemas"]
    for name, answer in answers.items():
        fields = set(answer.json)
        assert set(shapes[name]["required"]) <= fields <= set(shapes[name]["properties"])


async def test_every_operation_has_an_example_of_each_answer_and_its_bodies_are_accepted(
    world: GatewayWorld,
) -> None:
    paths = (await world.get("/openapi.json")).json["paths"]
    operations = [
        operation
        for path, each in paths.items()
        if path.startswith("/api/schedules")
        for operation in each.values()
    ]
    assert len(operations) == 12
    for operation in operations:
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                assert content["example"].get("status", int(status)) in (int(status), "queued")
    body = paths["/api/schedules"]["post"]["requestBody"]["content"]["application/json"]["example"]
    schedule_id = await created(world, **body)
    change = paths["/api/schedules/{schedule_id}"]["patch"]["requestBody"]["content"]
    example = change["application/merge-patch+json"]["example"]
    assert (await world.patch(f"/api/schedules/{schedule_id}", example)).status == 200
