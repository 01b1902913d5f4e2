"""The description of the HTTP API: complete, true of the answers, and its examples work."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import jsonschema_rs
import pytest

from pipeline.domain.execution import Succeeded
from tests.gateway_world import Answer, GatewayWorld, gateway_world

Schema = dict[str, Any]


@pytest.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as made:
        yield made


def operations(paths: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, each in paths.items():
        for method, operation in each.items():
            yield path, method, operation


async def described(world: GatewayWorld) -> Schema:
    schema: Schema = (await world.get("/openapi.json")).json
    return schema


def example_of(described: Schema, path: str, method: str = "post") -> Any:
    content = described["paths"][path][method]["requestBody"]["content"]
    return content["application/json"]["example"]


async def test_every_answer_with_a_body_has_a_shape_and_an_example(world: GatewayWorld) -> None:
    paths = (await described(world))["paths"]
    assert len(list(operations(paths))) >= 45
    for path, method, operation in operations(paths):
        for status, answer in operation["responses"].items():
            if status in ("204", "304"):
                continue
            (content,) = answer["content"].values()
            assert "example" in content, (path, method, status)


async def test_every_example_has_the_shape_that_it_is_an_example_of(world: GatewayWorld) -> None:
    schema = await described(world)
    contents = [
        content
        for _, _, operation in operations(schema["paths"])
        for each in (*operation["responses"].values(), operation.get("requestBody", {}))
        for media, content in each.get("content", {}).items()
        if media.endswith("json")
    ]
    assert len(contents) > 200
    for content in contents:
        validate(schema, content["schema"], content["example"])


def validate(described: Schema, shape: Schema, value: Any) -> None:
    """Raises if the value is not of this shape."""
    whole = {**shape, "components": described["components"]}
    jsonschema_rs.Draft202012Validator(whole).validate(value)


async def test_every_refusal_is_a_problem(world: GatewayWorld) -> None:
    schema = await described(world)
    for path, method, operation in operations(schema["paths"]):
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"], (path, method)
                example = answer["content"]["application/problem+json"]["example"]
                assert example["status"] == int(status)
    assert "HTTPValidationError" not in schema["components"]["schemas"]


async def test_every_operation_with_an_id_may_not_find_it_and_stores_may_be_away(
    world: GatewayWorld,
) -> None:
    for path, method, operation in operations((await described(world))["paths"]):
        told = set(operation["responses"])
        if "{" in path:
            assert "404" in told, (path, method)
        if path.startswith("/api") and path != "/api/schedules/preview":
            assert "503" in told, (path, method)


async def test_every_reference_in_the_description_leads_somewhere(world: GatewayWorld) -> None:
    schema = await described(world)
    there = schema["components"]["schemas"]
    assert {name.rpartition("/")[2] for name in references(schema)} <= set(there)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


async def test_shapes_and_examples_have_the_fields_that_the_answers_have(
    world: GatewayWorld,
) -> None:
    schema = await described(world)
    job = await world.ended(Succeeded(report={"stdout": "x", "exit_code": 0}), command="true")
    one = f"/api/jobs/{job.id}"
    answers = {
        "/api/jobs": await world.get("/api/jobs"),
        "/api/jobs/{job_id}": await world.get(one),
        "/api/jobs/{job_id}/executions": await world.get(f"{one}/executions"),
        "/api/jobs/{job_id}/executions/{attempt}": await world.get(f"{one}/executions/1"),
        "/api/queues": await world.get("/api/queues"),
        "/api/queues/{queue}": await world.get("/api/queues/default"),
        "/api/queues/{queue}/peek": await world.get("/api/queues/default/peek"),
        "/api/stats": await world.get("/api/stats"),
        "/api/workers": await world.get("/api/workers"),
        "/api/watchers": await world.get("/api/watchers"),
        "/livez": await world.get("/livez"),
        "/readyz": await world.get("/readyz"),
        "/stats": await world.get("/stats"),
    }
    for path, answer in answers.items():
        assert answer.status == 200, path
        check(schema, path, "get", answer)


def check(schema: Schema, path: str, method: str, answer: Answer) -> None:
    """The answer has what the shape requires, and the example has what the answer has."""
    told = schema["paths"][path][method]["responses"][str(answer.status)]
    content = told["content"]["application/json"]
    shape = schema["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    validate(schema, content["schema"], answer.json)
    fields, shown = set(answer.json), set(content["example"])
    assert set(shape["required"]) <= fields, path
    assert set(shape["required"]) <= shown, path
    assert fields <= shown | set(shape["properties"]), path
    for item in answer.json.get("items", []) if "items" in fields else []:
        assert set(item) <= set(content["example"]["items"][0]), path


async def test_the_examples_of_bodies_are_accepted(world: GatewayWorld) -> None:
    schema = await described(world)
    sent = {
        "/api/jobs": 202,
        "/api/jobs/batch": 202,
        "/api/jobs/cancel": 200,
        "/api/jobs/retry": 200,
        "/api/jobs/delete": 200,
        "/api/workers/register": 200,
        "/api/workers/heartbeat": 200,
    }
    for path, status in sent.items():
        answer = await world.post(path, example_of(schema, path))
        assert answer.status == status, answer.body
        check(schema, path, "post", answer)
    job_id = await world.submitted(command="true")
    changed = example_of(schema, "/api/jobs/{job_id}", "patch")
    assert (await world.patch(f"/api/jobs/{job_id}", changed)).status == 200
    limit = example_of(schema, "/api/queues/{queue}", "patch")
    assert (await world.patch("/api/queues/mail", limit)).status == 200


@pytest.mark.parametrize("verb", ["run", "cancel", "retry"])
async def test_a_call_that_takes_nothing_names_what_was_sent_all_the_same(
    world: GatewayWorld, verb: str
) -> None:
    path = f"/api/jobs/{await world.submitted(command='true')}/{verb}"
    answer = await world.post(f"{path}?force=1", {"reason": "because"})
    assert (answer.status, answer.pointers) == (422, ["/force", "/reason"])
    assert (await world.post(path, [])).pointers == [""]


@pytest.mark.parametrize(
    "path", ["/api/queues/mail/pause", "/api/queues/mail/resume", "/api/schedules/forecast"]
)
async def test_an_empty_object_is_nothing(world: GatewayWorld, path: str) -> None:
    assert (await world.post(path, {})).status == 200
    assert (await world.post(path)).status == 200
    assert (await world.post(f"{path}?n=1")).pointers == ["/n"]


@pytest.mark.parametrize(
    "path",
    [
        *(f"/api/jobs/{word}" for word in ("batch", "cancel", "delete", "retry")),
        "/jobs/batch",
        "/api/workers/register",
        "/workers/heartbeat",
        "/api/schedules/preview",
        "/api/schedules/forecast",
    ],
)
@pytest.mark.parametrize("method", ["DELETE", "GET", "PATCH", "PUT"])
async def test_a_word_in_the_place_of_an_id_is_posted_to_and_nothing_else(
    world: GatewayWorld, path: str, method: str
) -> None:
    answer = await world.request(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_what_is_wrong_is_told_without_words_of_python(world: GatewayWorld) -> None:
    wrong = {
        "/api/jobs/cancel": [1],
        "/api/jobs": {"http": 5, "tags": "x", "retry": []},
        "/api/workers/register": {"pid": False, "queues": 5},
    }
    for path, body in wrong.items():
        answer = await world.post(path, body)
        assert answer.status == 422
        for word in ("instance", "dictionary", "tuple", "Input", "list"):
            assert word not in answer.json["detail"], answer.json["detail"]


async def test_a_worker_says_numbers_as_numbers(world: GatewayWorld) -> None:
    answer = await world.post("/api/workers/register", {"pid": False})
    assert (answer.status, answer.pointers) == (422, ["/pid"])
