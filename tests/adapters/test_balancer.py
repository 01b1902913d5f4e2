"""HAProxy in front of gateways, played here by the tiniest of HTTP servers."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from infra.local.haproxy import Balancer
from infra.local.ports import free_port
from infra.local.servers import ServerFailed
from tests.support import eventually


class Gateway:
    """Answers every request with its name and the `Host` it was asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port(but=set())
        self.ready = True
        self.asked_as: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Gateway"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        if path != "/readyz":
            host = next(line for line in head.splitlines() if line.lower().startswith("host:"))
            self.asked_as.append(host.split(": ")[1])
        status = "503 Not Ready" if path == "/readyz" and not self.ready else "200 OK"
        length = f"Content-Length: {len(self.name)}\r\nConnection: close\r\n\r\n"
        writer.write(f"HTTP/1.1 {status}\r\n{length}{self.name}".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def balancing(data_dir: Path, *gateways: Gateway) -> AsyncIterator[Balancer]:
    balancer = Balancer(data_dir, 0, [gateway.port for gateway in gateways])
    await balancer.start()
    watch = asyncio.create_task(balancer.watch())
    try:
        yield balancer
    finally:
        await balancer.stop()
        await watch


async def ask(balancer: Balancer, host: str = "localhost") -> tuple[int, str]:
    url = f"http://127.0.0.1:{balancer.port}/api/jobs"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Host": host}) as answer,
    ):
        return answer.status, await answer.text()


async def test_requests_go_round_those_that_are_ready(tmp_path: Path) -> None:
    one, two, three = Gateway("one"), Gateway("two"), Gateway("three")
    three.ready = False
    async with (
        one.running(),
        two.running(),
        three.running(),
        balancing(tmp_path, one, two, three) as balancer,
    ):
        await eventually(lambda: never_asks(balancer, "three"))
        answers = Counter([await ask(balancer) for _ in range(10)])
        assert answers == {(200, "one"): 5, (200, "two"): 5}


async def test_one_that_becomes_ready_gets_its_share(tmp_path: Path) -> None:
    one, two = Gateway("one"), Gateway("two")
    two.ready = False
    async with one.running(), two.running(), balancing(tmp_path, one, two) as balancer:
        await eventually(lambda: never_asks(balancer, "two"))
        two.ready = True
        await eventually(lambda: asked_both(balancer))


async def test_one_that_is_gone_costs_no_request(tmp_path: Path) -> None:
    one, two = Gateway("one"), Gateway("two")
    async with one.running(), balancing(tmp_path, one, two) as balancer:
        # Nobody ever listened for `two`, and no check may have found out yet.
        assert {await ask(balancer) for _ in range(10)} == {(200, "one")}


async def test_when_none_is_ready_it_answers_with_a_problem_and_a_time_to_retry(
    tmp_path: Path,
) -> None:
    one, two = Gateway("one"), Gateway("two")
    one.ready = False
    async with one.running(), balancing(tmp_path, one, two) as balancer:
        await eventually(lambda: says_no_gateway(balancer))
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{balancer.port}/api/jobs", json={}) as answer,
        ):
            assert answer.status == 503
            assert answer.content_type == "application/problem+json"
            assert answer.headers["Retry-After"] == "1"
            problem = await answer.json(content_type=None)
            assert problem["status"] == 503
            assert problem["detail"] == "No gateway is ready."


async def test_the_gateway_sees_the_host_that_the_client_asked_for(tmp_path: Path) -> None:
    gateway = Gateway("one")
    async with gateway.running(), balancing(tmp_path, gateway) as balancer:
        gateway.asked_as.clear()
        await ask(balancer, host="evil.example")
        assert gateway.asked_as == ["evil.example"]


async def test_a_balancer_that_dies_is_restarted(tmp_path: Path) -> None:
    gateway = Gateway("one")
    async with gateway.running(), balancing(tmp_path, gateway) as balancer:
        before, port = balancer.pid, balancer.port
        assert before
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: balancer.pid not in (None, before))
        assert balancer.port == port
        assert await eventually(lambda: ask(balancer)) == (200, "one")


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    gateway = Gateway("one")
    async with gateway.running():
        balancer = Balancer(tmp_path, gateway.port, [])
        with pytest.raises(ServerFailed, match=f"Port {gateway.port} is taken"):
            await balancer.start()
        await balancer.stop()


async def never_asks(balancer: Balancer, name: str) -> bool:
    return name not in [(await ask(balancer))[1] for _ in range(6)]


async def asked_both(balancer: Balancer) -> bool:
    return {(await ask(balancer))[1] for _ in range(6)} == {"one", "two"}


async def says_no_gateway(balancer: Balancer) -> bool:
    status, text = await ask(balancer)
    return status == 503 and "No gateway is ready." in text
