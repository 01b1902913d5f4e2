"""Changing jobs over HTTP: PATCH with its preconditions, run now, and the calls on many."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from gateway.deps import Limits
from pipeline.domain.execution import ErrorInfo, Failed
from tests.fakes.clock import START, SeededChance
from tests.gateway_world import Answer, GatewayWorld, gateway_world

OLD = SeededChance(7, born=START - timedelta(hours=1)).job_id()
MERGE_PATCH = "application/merge-patch+json"
FATAL = Failed(ErrorInfo("E", "m"), retryable=False)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


async def patch(world: GatewayWorld, job_id: str, body: bytes, **headers: str) -> Answer:
    headers.setdefault("content_type", MERGE_PATCH)
    return await world.request("PATCH", f"/api/jobs/{job_id}", [body], **headers)


# -- PATCH


@pytest.mark.parametrize("media", [MERGE_PATCH, "application/json", "application/json; charset=x"])
async def test_a_waiting_job_is_changed_and_answers_as_it_is_now(
    world: GatewayWorld, media: str
) -> None:
    job_id = await world.submitted(name="old", delay=60)
    answer = await patch(world, job_id, b'{"name": "new", "delay": 120}', content_type=media)
    assert (answer.status, answer.json["name"], answer.json["delay"]) == (200, "new", 120)
    assert (answer.json["status"], answer.json["due_at"]) == ("pending", "2026-01-01T12:02:00.000Z")
    shown = await world.get(f"/jobs/{job_id}")
    assert (shown.json, shown.headers["etag"]) == (answer.json, answer.headers["etag"])


@pytest.mark.parametrize("media", ["application/x-ndjson", "text/plain", "application/json-patch"])
async def test_another_media_type_is_415(world: GatewayWorld, media: str) -> None:
    job_id = await world.submitted(delay=60)
    assert (await patch(world, job_id, b"{}", content_type=media)).status == 415


async def test_a_job_is_not_submitted_as_a_merge_patch(world: GatewayWorld) -> None:
    answer = await world.post("/api/jobs", {"payload": 1}, content_type=MERGE_PATCH)
    assert answer.status == 415


async def test_the_tag_that_was_read_lets_the_change_pass_once(world: GatewayWorld) -> None:
    job_id = await world.submitted(delay=60)
    tag = (await world.get(f"/api/jobs/{job_id}")).headers["etag"]
    first = await patch(world, job_id, b'{"priority": 9}', if_match=f'"other", {tag}')
    assert first.status == 200
    second = await patch(world, job_id, b'{"priority": 1}', if_match=tag)
    assert (second.status, second.headers["content-type"]) == (412, "application/problem+json")
    assert (await world.get(f"/api/jobs/{job_id}")).json["priority"] == 9
    assert (await patch(world, job_id, b'{"priority": 1}', if_match="*")).status == 200
    assert (await patch(world, job_id, b'{"priority": 2}', if_match=f"W/{tag}")).status == 412


@pytest.mark.parametrize("verb", ["cancel", "run", "delete", "retry"])
async def test_no_verb_touches_a_job_that_is_not_the_one_that_was_read(
    world: GatewayWorld, verb: str
) -> None:
    job_id = await world.submitted(delay=60)
    if verb == "retry":
        assert (await world.post(f"/api/jobs/{job_id}/cancel")).status == 200
    before = await world.get(f"/api/jobs/{job_id}")
    method, path = ("DELETE", "") if verb == "delete" else ("POST", f"/{verb}")

    async def act(tag: str) -> int:
        url = f"/api/jobs/{job_id}{path}"
        return (await world.request(method, url, [b""], if_match=tag)).status

    assert await act('"other"') == 412
    assert (await world.get(f"/api/jobs/{job_id}")).json == before.json
    assert await act(before.headers["etag"]) == (204 if verb == "delete" else 200)


async def test_a_dispatch_changes_the_tag(world: GatewayWorld) -> None:
    job_id = await world.submitted(delay=1)
    tag = (await world.get(f"/api/jobs/{job_id}")).headers["etag"]
    await world.store.dispatch(timedelta(seconds=2), 10)
    assert (await patch(world, job_id, b'{"priority": 1}', if_match=tag)).status == 412
    assert (await patch(world, job_id, b'{"priority": 1}')).status == 200


@pytest.mark.parametrize(
    ("body", "status", "pointers"),
    [
        (b'{"priorty": 1}', 422, ["/priorty"]),
        (b'{"idempotency_key": "x"}', 422, ["/idempotency_key"]),
        (b'{"command": "x", "task": "y"}', 422, [""]),
        (b"[]", 422, [""]),
        (b"null", 422, [""]),
        (b"{", 422, [""]),
        (b'{"payload": 1e999}', 422, ["/payload"]),
        (b'{"payload": 9223372036854775808}', 422, ["/payload"]),
    ],
)
async def test_what_would_be_no_job_is_refused_and_nothing_changes(
    world: GatewayWorld, body: bytes, status: int, pointers: list[str]
) -> None:
    job_id = await world.submitted(delay=60)
    before = (await world.get(f"/api/jobs/{job_id}")).json
    answer = await patch(world, job_id, body)
    assert answer.status == status
    if b"1e999" not in body:
        assert answer.pointers == pointers
    assert (await world.get(f"/api/jobs/{job_id}")).json == before


async def test_what_runs_or_is_not_there_is_not_changed(world: GatewayWorld) -> None:
    job = await world.started()
    assert (await patch(world, job.id, b'{"priority": 1}')).status == 409
    assert (await patch(world, OLD, b'{"priority": 1}')).status == 404


# -- run


async def test_a_job_of_tomorrow_is_made_due(world: GatewayWorld) -> None:
    job_id = await world.submitted(delay=86_400)
    answer = await world.post(f"/api/jobs/{job_id}/run")
    assert (answer.status, answer.json["status"]) == (200, "pending")
    assert answer.json["due_at"] == "2026-01-01T12:00:00.000Z"


async def test_what_runs_is_not_run_now(world: GatewayWorld) -> None:
    job = await world.started()
    assert (await world.post(f"/jobs/{job.id}/run")).status == 409
    assert (await world.post(f"/jobs/{OLD}/run")).status == 404


# -- many


async def test_many_are_cancelled_retried_and_deleted_by_the_words_of_the_list(
    world: GatewayWorld,
) -> None:
    for number in range(3):
        await world.submitted(name=f"n{number}", queue="eu", delay=60)
    await world.submitted(queue="us", delay=60)
    call: dict[str, Any] = {"filter": {"queue": "eu", "q": "n"}}
    counted = await world.post("/api/jobs/cancel", call | {"dry_run": True})
    assert (counted.status, counted.json) == (200, {"matched": 3, "complete": True})
    done = {"matched": 3, "changed": 3, "unchanged": 0, "complete": True}
    assert (await world.post("/api/jobs/cancel", call)).json == done
    retry = {"filter": {"queue": "eu", "status": "cancelled"}}
    assert (await world.post("/api/jobs/retry", retry)).json == done
    assert (await world.post("/jobs/delete", {"filter": {"queue": "eu"}})).json == done
    left = (await world.get("/api/jobs")).json["items"]
    assert [job["queue"] for job in left] == ["us"]


async def test_failed_is_another_word_for_dead_here_too(world: GatewayWorld) -> None:
    await world.ended(FATAL)
    call = {"filter": {"status": ["failed"]}, "dry_run": True}
    assert (await world.post("/api/jobs/retry", call)).json["matched"] == 1


async def test_every_job_has_to_be_said(world: GatewayWorld) -> None:
    await world.submitted(delay=60)
    bodies: list[Any] = [{}, {"filter": {}}, {"filter": {"q": ""}}, {"filter": {"status": []}}]
    for body in bodies:
        answer = await world.post("/api/jobs/cancel", body)
        assert (answer.status, answer.pointers) == (422, ["/filter"]), body
    assert (await world.post("/api/jobs/cancel", {"all": True})).json["changed"] == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"filter": {"stauts": "dead"}}, "/filter/stauts"),
        ({"filter": {"status": "gone"}}, "/filter/status"),
        ({"filter": {"limit": 5}}, "/filter/limit"),
        ({"filter": {"queue": "eu"}, "all": True}, "/filter"),
        ({"all": "yes"}, "/all"),
        ({"all": True, "limit": 0}, "/limit"),
        ({"all": True, "limit": 100_001}, "/limit"),
        ({"all": True, "dryrun": True}, "/dryrun"),
        ([], ""),
    ],
)
@pytest.mark.parametrize("verb", ["cancel", "retry", "delete"])
async def test_a_bad_call_is_refused_and_changes_nothing(
    world: GatewayWorld, verb: str, body: Any, pointer: str
) -> None:
    job_id = await world.submitted(delay=60, queue="eu")
    answer = await world.post(f"/api/jobs/{verb}", body)
    assert answer.status == 422
    assert all(found.startswith(pointer) for found in answer.pointers)
    assert (await world.get(f"/api/jobs/{job_id}")).json["status"] == "pending"


async def test_the_limit_is_kept_and_more_is_told() -> None:
    async with gateway_world(limits=Limits(bulk_jobs=5)) as world:
        for _ in range(4):
            await world.submitted(delay=60)
        answer = await world.post("/api/jobs/cancel", {"all": True, "limit": 3})
        assert answer.json == {"matched": 3, "changed": 3, "unchanged": 0, "complete": False}
        assert (await world.post("/api/jobs/cancel", {"all": True, "limit": 6})).status == 422


async def test_without_mongodb_a_call_on_many_is_503(world: GatewayWorld) -> None:
    world.store.down = True
    assert (await world.post("/api/jobs/cancel", {"all": True})).status == 503
