"""Bad input over a real connection: a problem that names the field, and nothing published.

The gateway is the real one on a real socket; the stores behind it are fakes, because nothing of
this may get as far as a store.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gateway.serve import serve
from tests.gateway_world import GatewayWorld

JSON = {"Content-Type": "application/json"}
DEEP = b'{"payload":' + b"[" * 1000 + b"]" * 1000 + b"}"
FORTY = b'{"payload":' + b"[" * 40 + b"]" * 40 + b"}"

BAD: dict[str, tuple[bytes, int, str]] = {
    "unknown field": (b'{"payload":1,"nmae":"x"}', 422, "/nmae"),
    "unknown field inside": (b'{"retry":{"max":3}}', 422, "/retry/max"),
    "two kinds": (b'{"command":"true","task":"echo"}', 422, ""),
    "run_at and delay": (b'{"run_at":"2026-12-01T06:00:00Z","delay":5}', 422, ""),
    "negative delay": (b'{"delay":-1}', 422, "/delay"),
    "delay as text": (b'{"delay":"5"}', 422, "/delay"),
    "time without a zone": (b'{"run_at":"2026-12-01T06:00:00"}', 422, "/run_at"),
    "queue name": (b'{"queue":"a b"}', 422, "/queue"),
    "priority": (b'{"priority":10}', 422, "/priority"),
    "payload with a command": (b'{"command":"true","payload":1}', 422, ""),
    "http auth": (b'{"http":{"url":"http://x.example","auth":{}}}', 422, "/http/auth"),
    "not an object": (b"[]", 422, ""),
    "not JSON": (b"{payload: 1}", 422, ""),
    "nothing": (b"{", 422, ""),
    "not UTF-8": (b'{"payload":"\xff"}', 422, ""),
    "NaN": (b'{"payload":NaN}', 422, ""),
    "Infinity": (b'{"payload":{"a":-Infinity}}', 422, ""),
    "a number too large for a float": (b'{"payload":{"a":[1e999]}}', 422, "/payload/a/0"),
    "2^63": (b'{"payload":{"n":9223372036854775808}}', 422, "/payload/n"),
    "NUL in a key": (b'{"payload":{"a\\u0000":1}}', 422, "/payload"),
    "lone surrogate": (b'{"payload":{"s":"\\ud800"}}', 422, ""),
    "depth 40": (FORTY, 422, "/payload" + "/0" * 31),
    "depth 1,000": (DEEP, 422, ""),
}


@asynccontextmanager
async def served(world: GatewayWorld) -> AsyncIterator[str]:
    """The gateway on a free port, until the body ends; then it must end by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(world.app, listening, stop, grace=1.0))
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                stop.set()


@pytest.fixture
def world() -> GatewayWorld:
    return GatewayWorld()


@pytest_asyncio.fixture
async def client(world: GatewayWorld) -> AsyncIterator[aiohttp.ClientSession]:
    async with served(world) as url, aiohttp.ClientSession(url, headers=JSON) as client:
        yield client


async def connection(
    client: aiohttp.ClientSession,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection to where the client goes."""
    url = client._base_url
    assert url is not None
    return await asyncio.open_connection(url.host, url.port)


async def problem_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The problem, complete."""
    assert answer.content_type == "application/problem+json"
    problem: dict[str, Any] = await answer.json()
    assert problem["status"] == answer.status
    assert problem["title"]
    assert problem["detail"]
    assert problem["type"]
    return problem


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_job_is_refused_and_the_field_named(
    world: GatewayWorld, client: aiohttp.ClientSession, name: str
) -> None:
    body, status, pointer = BAD[name]
    async with client.post("/api/jobs", data=body) as answer:
        problem = await problem_of(answer)
    assert answer.status == status
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert problem["errors"][0]["detail"]
    assert not world.intake.publishes


async def test_every_flaw_is_named_at_once(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/jobs", json={"delay": -1, "queue": "", "nmae": 1}) as answer:
        problem = await problem_of(answer)
    assert {error["pointer"] for error in problem["errors"]} == {"/delay", "/queue", "/nmae"}


async def test_a_bad_job_in_a_batch_is_named_and_the_others_are_taken(
    world: GatewayWorld, client: aiohttp.ClientSession
) -> None:
    lines = [b"{}", *(body for body, _, _ in BAD.values())]
    headers = {"Content-Type": "application/x-ndjson"}
    async with client.post("/api/jobs/batch", data=b"\n".join(lines), headers=headers) as answer:
        result = await answer.json()
    assert (answer.status, result["accepted"]) == (202, 1)
    found = [rejection["errors"][0]["pointer"] for rejection in result["rejected"]]
    assert found == [pointer for _, _, pointer in BAD.values()]
    assert len(world.intake.submissions) == 1


async def test_a_job_over_the_limit_is_413(
    world: GatewayWorld, client: aiohttp.ClientSession
) -> None:
    async with client.post("/api/jobs", data=b'{"payload":"%s"}' % (b"x" * 300_000)) as answer:
        problem = await problem_of(answer)
    assert answer.status == 413
    assert "262144" in problem["detail"]
    assert not world.intake.publishes


@pytest.mark.parametrize("framing", ["Content-Length: 17000000", "Transfer-Encoding: chunked"])
async def test_a_request_over_the_limit_is_413_however_it_is_sent(
    world: GatewayWorld, client: aiohttp.ClientSession, framing: str
) -> None:
    """Announced, it is refused unread; chunked, when the limit is passed, and never to its end."""
    reader, writer = await connection(client)
    writer.write(f"POST /api/jobs/batch HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n".encode())
    writer.write(b"Content-Type: application/json\r\n\r\n")
    async with asyncio.TaskGroup() as group, asyncio.timeout(30):
        answered = group.create_task(reader.readline())
        with suppress(ConnectionError):
            while not answered.done():
                writer.write(b"20000\r\n" + b" " * 0x20000 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0)
    assert answered.result().startswith(b"HTTP/1.1 413 ")
    writer.close()
    assert not world.intake.publishes


async def test_a_client_that_goes_away_harms_nobody(
    world: GatewayWorld, client: aiohttp.ClientSession
) -> None:
    """Half a body, then nothing more."""
    _, writer = await connection(client)
    writer.write(b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n")
    writer.write(b"Content-Type: application/json\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with client.post("/api/jobs", json={}) as answer:
        assert answer.status == 202
    assert len(world.intake.publishes) == 1


async def test_an_answer_does_not_wait_for_the_clients_acknowledgement(
    client: aiohttp.ClientSession,
) -> None:
    """Headers and body are two writes: with Nagle's algorithm the second comes 40 ms later."""
    loop = asyncio.get_running_loop()
    times = []
    for _ in range(20):
        before = loop.time()
        async with client.post("/api/jobs", json={}) as answer:
            await answer.read()
        times.append(loop.time() - before)
    assert min(times) < 0.03


async def test_a_stopping_gateway_answers_what_is_in_flight(world: GatewayWorld) -> None:
    world.intake.hold()
    async with asyncio.TaskGroup() as group, served(world) as url:
        client = aiohttp.ClientSession(url, headers=JSON)
        request = group.create_task(client.post("/api/jobs", data=b"{}"))
        async with asyncio.timeout(5):
            while not world.intake.publishes:
                await asyncio.sleep(0.01)
        group.create_task(_release_soon(world))
    assert request.result().status == 202
    await client.close()


async def _release_soon(world: GatewayWorld) -> None:
    await asyncio.sleep(0.2)
    world.intake.release()
