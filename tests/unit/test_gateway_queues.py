"""Queues, counts, health."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.gateway_world import GatewayWorld, gateway_world


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


async def queued(world: GatewayWorld, **body: object) -> str:
    """A job that waits in the lease queue."""
    job_id = await world.submitted(**body)
    await world.queue.add([world.store.jobs[job_id].entry])
    return job_id


async def test_a_queue_tells_what_waits_in_it(world: GatewayWorld) -> None:
    await queued(world, queue="eu")
    await queued(world, queue="eu", delay=60)
    world.clock.advance(2)
    answer = await world.get("/api/queues/eu")
    assert answer.json == {
        "name": "eu",
        "delayed": 1,
        "ready": 1,
        "leased": 0,
        "paused": False,
        "oldest_wait": 2.0,
    }
    assert (await world.get("/api/queues")).json["items"] == [answer.json]


async def test_a_queue_that_nobody_named_is_404(world: GatewayWorld) -> None:
    assert (await world.get("/api/queues/none")).status == 404
    assert (await world.post("/api/queues/not%20a%20name/pause")).status == 404


async def test_a_peek_shows_the_next_jobs_in_order(world: GatewayWorld) -> None:
    usual = await queued(world)
    later = await queued(world, delay=60)
    urgent = await queued(world, priority=9)
    items = (await world.get("/api/queues/default/peek?n=3")).json["items"]
    assert [item["id"] for item in items] == [urgent, usual, later]
    assert items[2]["due_at"] == "2026-01-01T12:01:00.000Z"
    assert [item["ready"] for item in items] == [True, True, False]


async def test_a_paused_queue_is_paused_in_both_stores_until_resumed(world: GatewayWorld) -> None:
    await queued(world)
    answer = await world.post("/api/queues/default/pause")
    assert (answer.status, answer.json["paused"]) == (200, True)
    assert await world.store.paused_queues() == {"default"}
    assert (await world.queue.view("default")).paused
    answer = await world.post("/api/queues/default/resume")
    assert (answer.status, answer.json["paused"]) == (200, False)
    assert await world.store.paused_queues() == frozenset()


async def test_without_redis_a_pause_is_remembered_and_answered_503(world: GatewayWorld) -> None:
    """Truth first: the reconciler carries it to Redis."""
    world.queue.go_down()
    answer = await world.post("/api/queues/default/pause")
    assert (answer.status, answer.json["server"]) == (503, "Redis")
    assert await world.store.paused_queues() == {"default"}


async def test_the_stats_count_every_state(world: GatewayWorld) -> None:
    await world.submitted(delay=60)
    await world.ended()
    stats = (await world.get("/api/stats")).json
    assert stats["jobs"] == {
        "cancelled": 0,
        "dead": 0,
        "pending": 1,
        "queued": 0,
        "running": 0,
        "succeeded": 1,
    }
    assert stats["workers"] == {"alive": 0, "slots": 0, "running": 0}


async def test_a_gateway_is_ready_while_it_can_publish(world: GatewayWorld) -> None:
    world.store.down = True
    world.queue.go_down()
    assert (await world.get("/readyz")).status == 200
    world.intake.connected = False
    answer = await world.get("/readyz")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (await world.get("/livez")).status == 200


async def test_a_gateway_that_stops_is_not_ready(world: GatewayWorld) -> None:
    world.app.state.stopping = True
    assert (await world.get("/readyz")).status == 503


async def test_a_process_counts_what_it_submitted(world: GatewayWorld) -> None:
    before = (await world.get("/stats")).json["counters"]["jobs_submitted"]["command"]
    await world.post("/api/jobs", {"command": "true"})
    await world.post("/api/jobs/batch", [{"command": "true"}, {"command": "true"}])
    stats = (await world.get("/stats")).json
    assert stats["counters"]["jobs_submitted"]["command"] == before + 3
    assert stats["role"] == "gateway"
    assert (
        'dueq_jobs_submitted_total{kind="command"}' in (await world.get("/metrics")).body.decode()
    )


async def test_the_description_names_every_route_and_loads_nothing(world: GatewayWorld) -> None:
    paths = (await world.get("/openapi.json")).json["paths"]
    assert set(paths["/api/jobs"]) == {"get", "post"}
    assert "post" in paths["/api/jobs/batch"]
    assert not [path for path in paths if path.startswith("/job")]
    for path in ("/docs", "/redoc"):
        assert (await world.get(path)).status == 404
