"""What is refused by its headers, and how every error looks."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from gateway.deps import Limits
from tests.gateway_world import GatewayWorld, gateway_world


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:1", "127.9.9.9", "[::1]:8080"]
)
async def test_this_machine_may_ask(world: GatewayWorld, host: str) -> None:
    assert (await world.post("/api/jobs", {}, host=host)).status == 202


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "192.168.0.1",
        "localhost@evil.example",
        "",
        "[",
        "0",
    ],
)
async def test_on_loopback_a_foreign_host_is_refused(world: GatewayWorld, host: str) -> None:
    """A name of the attacker's that was made to point at 127.0.0.1 (DNS rebinding)."""
    assert (await world.post("/api/jobs", {}, host=host)).status == 403
    assert not world.intake.submissions


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
async def test_on_loopback_a_foreign_origin_is_refused(world: GatewayWorld, origin: str) -> None:
    answer = await world.post("/api/jobs", {}, host="localhost:8080", origin=origin)
    assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json")
    assert not world.intake.submissions


async def test_our_own_pages_may_ask(world: GatewayWorld) -> None:
    answer = await world.post(
        "/api/jobs", {}, host="localhost:8080", origin="http://localhost:8080"
    )
    assert answer.status == 202


async def test_elsewhere_any_host_may_be_asked() -> None:
    async with gateway_world(bind_is_loopback=False) as world:
        assert (await world.post("/api/jobs", {}, host="dueq.example")).status == 202


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"]
)
async def test_a_body_that_is_not_json_is_415(world: GatewayWorld, content_type: str) -> None:
    for path in ("/api/jobs", "/api/jobs/batch", "/api/queues/default/pause"):
        assert (await world.post(path, b"{}", content_type=content_type)).status == 415
    assert not world.intake.submissions


async def test_json_may_name_its_charset(world: GatewayWorld) -> None:
    answer = await world.post("/api/jobs", b"{}", content_type="Application/JSON; charset=utf-8")
    assert answer.status == 202


async def test_one_job_is_not_ndjson(world: GatewayWorld) -> None:
    answer = await world.post("/api/jobs", b"{}", content_type="application/x-ndjson")
    assert answer.status == 415


async def test_a_compressed_body_is_415(world: GatewayWorld) -> None:
    assert (await world.post("/api/jobs", b"{}", content_encoding="gzip")).status == 415


async def test_a_body_is_counted_while_it_arrives() -> None:
    """Chunked, it announces no length: the limit still holds, and the rest is not read."""
    async with gateway_world(limits=replace(Limits(), request_bytes=1000, job_bytes=100)) as world:
        chunked = {"content_type": "application/json", "transfer_encoding": "chunked"}
        small = [b'{"payload":"', b"x" * 50, b'"}']
        assert (await world.request("POST", "/api/jobs", small, **chunked)).status == 202
        large = [b'{"payload":"', *[b"x" * 50] * 30, b'"}']
        answer = await world.request("POST", "/api/jobs", large, **chunked)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        answer = await world.request("POST", "/api/jobs/batch", large, **chunked)
        assert (answer.status, answer.headers["connection"]) == (413, "close")


async def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_read(
    world: GatewayWorld,
) -> None:
    for length in (str(16 * 1024 * 1024 + 1), "-1", "many"):
        answer = await world.post("/api/jobs/batch", b"[{}]", content_length=length)
        assert answer.status == 413


async def test_a_job_beyond_its_size_is_413(world: GatewayWorld) -> None:
    answer = await world.post("/api/jobs", {"payload": "x" * 256 * 1024})
    assert answer.status == 413
    assert "262144" in answer.json["detail"]


async def test_an_error_of_the_framework_is_a_problem_too(world: GatewayWorld) -> None:
    for answer, status in (
        (await world.get("/api/nothing"), 404),
        (await world.request("PUT", "/api/jobs"), 405),
        (await world.get("/api/jobs?limit=x"), 422),
    ):
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == status
        assert answer.json["title"]


async def test_a_wrong_method_hears_which_are_right(world: GatewayWorld) -> None:
    answer = await world.request("PUT", "/api/jobs")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}
