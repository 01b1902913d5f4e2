"""Who closes an idle connection."""

import asyncio
import re
import socket

import pytest
from fastapi import FastAPI

from gateway.serve import KEEP_ALIVE_SECONDS, serve
from infra.local.haproxy import CONFIGURATION


def test_the_balancer_lets_go_of_an_idle_connection_before_the_gateway_does() -> None:
    """The other way round, what comes in that moment is cut off without an answer: of 1,500
    requests that came when a gateway's five seconds were over, 31 were."""
    kept = [
        int(seconds) for seconds in re.findall(r"timeout (?:client|server) (\d+)s", CONFIGURATION)
    ]
    assert len(kept) == 2
    assert max(kept) < KEEP_ALIVE_SECONDS


async def test_an_idle_connection_is_kept_for_so_long_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not for the five seconds that the server is used to."""
    monkeypatch.setattr("gateway.serve.KEEP_ALIVE_SECONDS", 0.2)
    stop = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        serving = asyncio.ensure_future(serve(FastAPI(), listening, stop))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(4):
            assert b"404" in await reader.readline()
            await reader.read()
        writer.close()
        stop.set()
        await serving
