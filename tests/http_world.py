"""Http jobs against real servers on loopback: a receiver that notes all, and an executor."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.clock import StoreClock
from pipeline.domain.execution import Ending
from pipeline.ports import Clock
from tests.builders import a_job
from tests.fakes.clock import SeededChance
from tests.fakes.sick_targets import FakeSickTargets
from workers.breaker import Breaker
from workers.executors.executors import Executors
from workers.executors.http import open_http
from workers.executors.task import TaskExecutor
from workers.secrets import Secrets
from workers.tasks import Registry

HERE = ("127.0.0.1", "::1")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Answer = Callable[[], web.Response]


class Receiver:
    """A server that notes every request and answers as it is told, path by path."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.BaseRequest, bytes]] = []
        self.url = ""
        self.answer: Answer = web.Response
        self.answers: dict[str, Answer] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append((request, await request.read()))
        if request.path == "/slow":
            await asyncio.sleep(60)
        if request.path == "/endless":
            return await self._endless(request)
        return self.answers.get(request.path, self.answer)()

    async def _endless(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 10_000)
        except ConnectionError:
            return response

    @property
    def last(self) -> web.BaseRequest:
        return self.requests[-1][0]

    @property
    def body(self) -> bytes:
        return self.requests[-1][1]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    runner = web.ServerRunner(web.Server(receiver.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def _numeric(host: str) -> list[str]:
    """What the machine's resolver makes of a number, in whatever spelling; it knows no names."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(address[0]) for *_, address in found]


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    """Answers these bytes to whatever it is asked, and hangs up; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def redirect(location: str, status: int = 302) -> Answer:
    return lambda: web.Response(status=status, headers={"Location": location})


class Names(AbstractResolver):
    """A resolver that answers as the test says: each time the next list, in the end the last."""

    def __init__(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._names = {name: list(answers) for name, answers in names.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self._names.get(host.lower().rstrip("."))
        if answers is None:
            answers = [_numeric(host)]
        now = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in now
        ]

    async def close(self) -> None: ...


@asynccontextmanager
async def executing(
    *allow: str,
    secrets: Mapping[str, str] | Secrets | None = None,
    resolver: AbstractResolver | None = None,
    clock: Clock | None = None,
    breaker: Breaker | None = None,
) -> AsyncIterator[Executors]:
    clock = clock or StoreClock()
    if not isinstance(secrets, Secrets):
        secrets = Secrets({f"DUEQ_SECRET_{k}": v for k, v in (secrets or {}).items()})
    chance = SeededChance(1)
    breaker = breaker or Breaker(FakeSickTargets(clock, chance), clock, chance, after=0)
    async with open_http(
        allow, "DueQ/test", secrets=secrets, clock=clock, breaker=breaker, resolver=resolver
    ) as http:
        yield Executors(TaskExecutor(Registry(), threads=1), http=http)


async def call(url: str, *allow: str, timeout: float = 300, **asked: Any) -> Ending:
    """One attempt; `secrets`, `resolver` and `clock` are the executor's, all else the request's."""
    given = {name: asked.pop(name) for name in ("secrets", "resolver", "clock") if name in asked}
    job = a_job(
        body={"http": {"url": url, **asked}, "timeout": timeout},
        id="the-job", attempt=3, traceparent=PARENT,
    )  # fmt: skip
    async with executing(*(allow or HERE), **given) as executors:
        return await executors.run(job)
