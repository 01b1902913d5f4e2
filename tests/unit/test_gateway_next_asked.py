"""Requests for work that are said wrong."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from gateway.deps import Limits
from tests.gateway_world import gateway_world
from tests.http_worker_world import Shell, a_shell


@pytest_asyncio.fixture
async def shell() -> AsyncIterator[Shell]:
    async with a_shell() as shell:
        yield shell


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ("requets=r-1", "/requets"),
        ("wait=61", "/wait"),
        ("wait=0&wait=1", "/wait"),
        ("request=", "/request"),
        ("request=a%20b", "/request"),
    ],
)
async def test_a_request_that_is_said_wrong_takes_no_job(
    shell: Shell, asked: str, pointer: str
) -> None:
    await shell.queued()
    answer = await shell.world.get(f"/api/workers/w-1/next?{asked}")
    assert (answer.status, answer.pointers) == (422, [pointer])
    assert not shell.leased()


async def test_nobody_makes_a_gateway_hold_an_endless_body_of_a_request_for_work() -> None:
    limits = replace(Limits(), job_bytes=100)
    async with gateway_world(limits=limits) as world:
        shell = Shell(world)
        await shell.register()
        chunked = {"content_type": "application/json", "transfer_encoding": "chunked"}
        path = "/api/workers/w-1/next?wait=0"
        answer = await world.request("GET", path, [b"x" * 50] * 30, **chunked)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        world.clients_stay = True
        answer = await world.request("GET", path, [b"{", b"}"], **chunked)
        assert answer.status == 204
