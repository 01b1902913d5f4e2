"""A gateway on fakes, asked without a network: a request is one call of the ASGI application."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import FastAPI
from starlette.types import Message

from gateway.app import GatewayDeps, create_app
from gateway.deps import Limits
from pipeline.domain.execution import Ending, Succeeded
from pipeline.domain.job import Job
from pipeline.domain.states import State
from tests.builders import a_claim, an_execution
from tests.fakes.clock import ManualClock, SeededChance
from tests.fakes.http_workers import FakeHttpWorkers
from tests.fakes.intake import FakeIntake
from tests.fakes.job_store import FakeJobStore
from tests.fakes.lease_queue import FakeLeaseQueue
from tests.fakes.live_notes import FakeLiveNotes
from tests.fakes.schedule_store import FakeScheduleStore
from tests.fakes.sick_targets import FakeSickTargets


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def pointers(self) -> list[str]:
        """Where the problem says that something is wrong."""
        assert self.headers["content-type"] == "application/problem+json"
        return [error["pointer"] for error in self.json["errors"]]


class GatewayWorld:
    """The application, its fakes, and the hands of a client and of an ingest."""

    def __init__(self, *, bind_is_loopback: bool = True, limits: Limits | None = None) -> None:
        self.clients_stay = False
        """Whether a client is still there after it has sent its request."""
        self.clock = ManualClock()
        self.chance = SeededChance(1)
        self.intake = FakeIntake()
        self.store = FakeJobStore(self.clock)
        self.queue = FakeLeaseQueue(self.clock)
        self.schedules = FakeScheduleStore(self.store, self.clock)
        self.live = FakeLiveNotes()
        self.asyncapi = {"asyncapi": "3.0.0"}
        self.targets = FakeSickTargets(self.clock, self.chance)
        self.http_workers = FakeHttpWorkers(self.queue, self.clock)
        self.app: FastAPI = create_app(
            GatewayDeps(
                self.intake,
                self.store,
                self.queue,
                self.clock,
                self.chance,
                self.schedules,
                self.targets,
                self.http_workers,
                bind_is_loopback=bind_is_loopback,
                live=self.live,
                asyncapi=self.asyncapi,
                limits=limits or Limits(),
            )
        )

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """A body that is not bytes is sent as JSON."""
        if body is None:
            return await self.request("POST", path, (), **headers)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
        return await self.request("POST", path, [data], **headers)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, (), **headers)

    async def delete(self, path: str, **headers: str) -> Answer:
        return await self.request("DELETE", path, (), **headers)

    async def patch(self, path: str, body: Any, **headers: str) -> Answer:
        headers.setdefault("content_type", "application/merge-patch+json")
        return await self.request("PATCH", path, [json.dumps(body).encode()], **headers)

    async def request(
        self, method: str, path: str, parts: Sequence[bytes] = (), **headers: str
    ) -> Answer:
        """The body arrives in `parts`; their length is announced unless a header says otherwise."""
        sent = {"host": "localhost"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if parts and "transfer-encoding" not in sent:
            sent.setdefault("content-length", str(sum(map(len, parts))))
        call = _Call(parts, self.clients_stay)
        await self.app(_scope(method, path, sent), call.receive, call.send)
        return call.answer

    async def ingest(self) -> None:
        """Everything published so far is stored."""
        await self.store.insert(self.intake.submissions, self.clock.now())

    async def submitted(self, **body: Any) -> str:
        """A job that was accepted and stored; its id."""
        answer = await self.post("/api/jobs", body)
        assert answer.status == 202, answer.body
        job_id: str = answer.json["id"]
        await self.store.insert([self.intake.submissions[-1]], self.clock.now())
        return job_id

    async def started(self, **body: Any) -> Job:
        """A job that runs."""
        job_id = await self.submitted(**body)
        self.clock.advance(1)
        (job,) = await self.store.start([job_id], a_claim(at=self.clock.now()))
        assert job.state is State.RUNNING
        return job

    async def ended(self, ending: Ending | None = None, **body: Any) -> Job:
        """A job whose first attempt has ended."""
        job = await self.started(**body)
        await self.end(job, ending or Succeeded())
        after = await self.store.get(job.id)
        assert after is not None
        return after

    async def end(self, job: Job, ending: Ending) -> None:
        """Record and settle the running attempt."""
        await self.store.settle(await self.store.record([an_execution(job, ending)]))

    async def until(self, request: "asyncio.Task[Answer]", within: timedelta) -> Answer:
        """The answer to a request that waits for time to pass."""
        await self.clock.run(within.total_seconds())
        assert request.done()
        return request.result()


@asynccontextmanager
async def gateway_world(
    *, bind_is_loopback: bool = True, limits: Limits | None = None
) -> AsyncIterator[GatewayWorld]:
    """A gateway that runs."""
    world = GatewayWorld(bind_is_loopback=bind_is_loopback, limits=limits)
    async with world.app.router.lifespan_context(world.app):
        yield world


class _Call:
    def __init__(self, parts: Sequence[bytes], stays: bool) -> None:
        self._stays = stays
        self._parts = list(parts) or [b""]
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = b""

    async def receive(self) -> Message:
        if not self._parts:
            if self._stays:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}
        part = self._parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            self._body += message.get("body", b"")

    @property
    def answer(self) -> Answer:
        return Answer(self._status, self._headers, self._body)


def _scope(method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    parts = urlsplit(path)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": parts.path,
        "raw_path": quote(parts.path).encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }


async def with_key(world: GatewayWorld, body: Any, key: str | None = "order-7") -> Answer:
    """Submit under a key while an ingest works."""
    return await keyed_post(world, "/api/jobs", body, key)


async def keyed_batch(world: GatewayWorld, jobs: list[Any], key: str | None = "k") -> Answer:
    """As `with_key`, an array of jobs."""
    return await keyed_post(world, "/api/jobs/batch", jobs, key)


async def keyed_post(world: GatewayWorld, path: str, body: Any, key: str | None) -> Answer:
    """Submit, and ingest what was published meanwhile."""
    headers = {"idempotency_key": key} if key else {}
    request = asyncio.ensure_future(world.post(path, body, **headers))
    for _ in range(20):
        await asyncio.sleep(0)
    await world.ingest()
    return await world.until(request, timedelta(seconds=2))
