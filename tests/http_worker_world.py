"""The hands of a worker over HTTP, at a gateway on fakes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pipeline.domain.states import State
from pipeline.watchers.reaper import Reaper
from tests.gateway_world import Answer, GatewayWorld, gateway_world

LEASE = timedelta(seconds=30)
Job = dict[str, Any]


class Shell:
    """The hands of a worker over HTTP."""

    def __init__(self, world: GatewayWorld) -> None:
        self.world = world

    async def register(self, **body: Any) -> Answer:
        body = {"id": "w-1", "concurrency": 200} | body
        return await self.world.post("/api/workers/register", body)

    async def next(self, request: str = "", worker: str = "w-1", wait: float = 0) -> Answer:
        name = f"&request={request}" if request else ""
        return await self.world.get(f"/api/workers/{worker}/next?wait={wait}{name}")

    async def job(self, request: str = "") -> Job:
        answer = await self.next(request)
        assert answer.status == 200, answer.body
        job: Job = answer.json
        return job

    async def beat(self, *jobs: Job) -> Answer:
        held = [{"id": job["id"], "attempt": job["attempt"], "lease": job["lease"]} for job in jobs]
        return await self.world.post("/api/workers/heartbeat", {"worker": "w-1", "jobs": held})

    async def write(self, job: Job, text: str, **more: Any) -> Answer:
        body = {"attempt": job["attempt"], "lease": job["lease"], "text": text} | more
        return await self.world.post(f"/api/jobs/{job['id']}/log", body)

    async def end(self, job: Job, **body: Any) -> Answer:
        body = {"attempt": job["attempt"], "lease": job["lease"], "outcome": "succeeded"} | body
        return await self.world.post(f"/api/jobs/{job['id']}/result", body)

    async def queued(self, **body: Any) -> str:
        job_id = await self.world.submitted(**body)
        stored = self.world.store.jobs[job_id]
        await self.world.queue.add([stored.entry])
        self.world.clock.advance(0.01)
        return job_id

    async def delayed(self, seconds: float) -> str:
        """A job that waits in the index for its time."""
        job_id = await self.world.submitted(delay=seconds)
        await self.world.queue.add([self.world.store.jobs[job_id].entry])
        stored = self.world.store.jobs[job_id]
        self.world.store.jobs[job_id] = replace(
            stored, state=State.QUEUED, queued_at=self.world.clock.now()
        )
        return job_id

    async def listed(self) -> Job:
        """What is told of the only worker."""
        (listed,) = (await self.world.get("/api/workers")).json["items"]
        return dict(listed)

    def state(self, job_id: str) -> State:
        return self.world.store.jobs[job_id].state

    def leased(self, queue: str = "default") -> set[str]:
        return set(self.world.queue.part(queue).leased)

    async def reap(self) -> None:
        world = self.world
        reaper = Reaper(world.store, world.queue, world.clock, LEASE)
        await world.queue.begin_generation("default", "g1")
        for _ in range(7):
            await reaper.step()
            await world.clock.run(5.1)
        await reaper.step()


@asynccontextmanager
async def a_shell() -> AsyncIterator[Shell]:
    """Of a worker that is registered, at a gateway of its own."""
    async with gateway_world() as world:
        shell = Shell(world)
        world.clients_stay = True
        await shell.register()
        yield shell
