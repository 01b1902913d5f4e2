"""Queues, counts, health."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from pipeline.domain.limits import Limit
from pipeline.ports import Grant, WorkerView
from tests.fakes.clock import START
from tests.fakes.interposed import interposed
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
        "workers": 0,
        "limits": {"concurrency": None, "rate": None, "waits_for": None},
        "waiting_keys": [],
        "sick_targets": [],
    }
    (listed,) = (await world.get("/api/queues")).json["items"]
    assert answer.json | listed == answer.json


async def test_a_queue_tells_how_many_workers_take_its_jobs(world: GatewayWorld) -> None:
    """None: what was submitted to it, be it by a typo, waits for ever."""
    await queued(world, queue="eu")
    view = WorkerView("w-1", "here", 7, ["default", "eu"], 1, 1, START)
    for each in (view, replace(view, id="w-2", queues=["us"])):
        await world.queue.announce_worker(each, timedelta(seconds=60))
    assert (await world.get("/api/queues/eu")).json["workers"] == 1


async def test_a_queue_tells_where_its_http_jobs_are_held_back(world: GatewayWorld) -> None:
    await queued(world, queue="eu")
    target, second = "https://a.example", timedelta(seconds=1)
    await world.targets.trip(target, probe=None, at_least=second, error="answered 503")
    for queue in ("eu", "eu", "us"):
        await world.targets.ask(target, queue, probe="p", within=second)
    (sick,) = (await world.get("/api/queues/eu")).json["sick_targets"]
    assert sick == {
        "target": target,
        "since": "2026-01-01T12:00:00.000Z",
        "probe_at": "2026-01-01T12:00:05.000Z",
        "failed_probes": 0,
        "error": "answered 503",
        "held": 2,
    }


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


async def test_a_limit_is_in_force_at_once_and_shown(world: GatewayWorld) -> None:
    await queued(world)
    await queued(world)
    change = {"concurrency": 1, "rate": {"count": 10, "per": 60}}
    answer = await world.patch("/api/queues/default", change)
    shown = {"concurrency": 1, "rate": {"count": 10, "per": 60.0}}
    assert (answer.status, answer.json["limits"]) == (200, shown | {"waits_for": None})
    grant = await a_lease(world, "L1")
    assert len(grant.job_ids) == 1
    reached = (await world.get("/api/queues/default")).json["limits"]
    assert reached == shown | {"waits_for": "1 of 1 running"}


async def test_a_change_of_a_limit_keeps_what_it_does_not_name(world: GatewayWorld) -> None:
    await world.patch("/api/queues/default", {"concurrency": 3, "rate": {"count": 10, "burst": 2}})
    changed = await world.patch("/api/queues/default", {"rate": {"burst": None}})
    assert changed.json["limits"]["rate"] == {"count": 10, "per": 1.0}
    removed = await world.patch("/api/queues/default", {"rate": None})
    assert (removed.json["limits"]["concurrency"], removed.json["limits"]["rate"]) == (3, None)
    await world.patch("/api/queues/default", {"concurrency": None})
    assert await world.store.limited_queues() == {}
    assert (await world.queue.view("default")).limit == ""


async def test_a_change_of_a_limit_keeps_what_came_between(world: GatewayWorld) -> None:
    async def somebody_else() -> None:
        await world.store.limit_queue("default", Limit(concurrency=3))

    store = interposed(world.store, "limit_queue", before=somebody_else)
    world.app.state.deps = replace(world.app.state.deps, store=store)
    changed = await world.patch("/api/queues/default", {"rate": {"count": 10}})
    assert changed.json["limits"]["concurrency"] == 3
    assert changed.json["limits"]["rate"] == {"count": 10, "per": 1.0}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"concurrency": 0}, "/concurrency"),
        ({"concurency": 2}, "/concurency"),
        ({"rate": {"count": 0}}, "/rate/count"),
        ({"rate": {"count": 20_000}}, "/rate"),
        ({"rate": {"per": 5}}, "/rate/count"),
        ([], ""),
    ],
)
async def test_a_limit_that_is_none_is_refused(
    world: GatewayWorld, change: object, pointer: str
) -> None:
    answer = await world.patch("/api/queues/default", change)
    assert answer.status == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert await world.store.limited_queues() == {}


async def test_lines_are_no_change(world: GatewayWorld) -> None:
    lines = {"content_type": "application/x-ndjson"}
    assert (await world.patch("/api/queues/default", {"concurrency": 2}, **lines)).status == 415
    assert await world.store.limited_queues() == {}


async def test_a_queue_tells_which_keys_wait_for_what(world: GatewayWorld) -> None:
    for _ in range(3):
        await queued(world, limits={"key": "customer-7", "concurrency": 1})
    slow = {"key": "customer-8", "rate": {"count": 1, "per": 10}}
    for _ in range(2):
        await queued(world, limits=slow)
    await a_lease(world, "L1")
    keys = (await world.get("/api/queues/default")).json["waiting_keys"]
    assert keys == [
        {"key": "customer-7", "waiting": 2, "running": 1, "waits_for": "1 of 1 running"},
        {"key": "customer-8", "waiting": 1, "running": 1,
         "waits_for": "rate: next token in 10.0 s"},
    ]  # fmt: skip
    items = (await world.get("/api/queues/default/peek")).json["items"]
    assert [item["waits_for"] for item in items] == [
        "key customer-7: 1 of 1 running",
        "key customer-7: 1 of 1 running",
        "key customer-8: next token in 10.0 s",
    ]


async def a_lease(world: GatewayWorld, lease_id: str) -> Grant:
    ttl = timedelta(seconds=30)
    return await world.queue.lease("default", worker="w", lease_id=lease_id, limit=10, ttl=ttl)


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
    assert (await world.get("/redoc")).status == 404
    assert b"<script" not in (await world.get("/docs")).body
