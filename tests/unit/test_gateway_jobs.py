"""Looking at jobs and asking something of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from pipeline.domain.execution import ErrorInfo, Failed, Succeeded
from pipeline.domain.job import Entry
from tests.builders import a_claim
from tests.fakes.clock import START, SeededChance
from tests.fakes.interposed import die, interposed
from tests.gateway_world import GatewayWorld, gateway_world

OLD = SeededChance(7, born=START - timedelta(hours=1)).job_id()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


# ----------------------------------------------------------------------------------------- one


async def test_a_job_answers_with_what_was_asked_and_the_defaults(world: GatewayWorld) -> None:
    job_id = await world.submitted(
        name="call", http={"url": "https://example.org"}, retry={"max_attempts": 2}
    )
    job = (await world.get(f"/api/jobs/{job_id}")).json
    assert (job["id"], job["name"], job["kind"], job["status"]) == (
        job_id,
        "call",
        "http",
        "queued",
    )
    assert (job["queue"], job["priority"], job["timeout"]) == ("default", 5, 300.0)
    assert (job["on_lost"], job["tags"]) == ("retry", [])
    assert job["http"] == {
        "url": "https://example.org",
        "method": "GET",
        "headers": {},
        "timeout": 10.0,
        "success": ["2xx"],
    }
    assert job["retry"] == {
        "max_attempts": 2,
        "backoff": "exponential",
        "base": 10.0,
        "factor": 2.0,
        "max_delay": 3600.0,
        "jitter": "full",
    }
    assert (job["due_at"], job["created_at"]) == ("2026-01-01T12:00:00.000Z",) * 2
    assert (job["attempt"], job["failures"]) == (0, 0)
    for name in ("started_at", "finished_at", "worker", "result", "last_error", "schedule_id",
                 "fire_time"):  # fmt: skip
        assert job[name] is None
    assert "amqp" not in job


async def test_a_payload_comes_back_as_it_was_sent(world: GatewayWorld) -> None:
    payload = {"none": None, "list": [1, 2.5, "ä"], "": {"a/b": True}}
    job_id = await world.submitted(payload=payload)
    assert (await world.get(f"/api/jobs/{job_id}")).json["payload"] == payload


@pytest.mark.parametrize("path", ["/jobs/{}", "/job?job_id={}", "/api/jobs/{}"])
async def test_a_job_is_found_by_each_of_its_ways(world: GatewayWorld, path: str) -> None:
    job_id = await world.submitted()
    answer = await world.get(path.format(job_id.upper()))
    assert (answer.status, answer.json["id"]) == (200, job_id)


async def test_a_job_tells_its_result(world: GatewayWorld) -> None:
    job = await world.ended(Succeeded({"sum": 3}))
    shown = (await world.get(f"/api/jobs/{job.id}")).json
    assert (shown["status"], shown["result"], shown["last_error"]) == (
        "succeeded",
        {"sum": 3},
        None,
    )


async def test_a_job_that_runs_again_tells_its_last_error(world: GatewayWorld) -> None:
    """The attempt that runs has no record yet: the one before it has."""
    job = await world.ended(Failed(ErrorInfo("ValueError", "no such thing")), retry={"base": 0})
    await world.store.dispatch(timedelta(seconds=2), 10)
    world.clock.advance(1)
    await world.store.start([job.id], a_claim(at=world.clock.now(), lease_id="lease-2"))
    shown = (await world.get(f"/api/jobs/{job.id}")).json
    assert (shown["status"], shown["attempt"]) == ("running", 2)
    assert shown["last_error"]["message"] == "no such thing"


async def test_an_etag_stays_while_the_job_does(world: GatewayWorld) -> None:
    job_id = await world.submitted(delay=60)
    first = (await world.get(f"/api/jobs/{job_id}")).headers["etag"]
    assert (await world.get(f"/api/jobs/{job_id}", if_none_match=first)).status == 304
    assert (await world.get(f"/api/jobs/{job_id}", if_none_match="*")).status == 304
    await world.post(f"/api/jobs/{job_id}/cancel")
    changed = await world.get(f"/api/jobs/{job_id}", if_none_match=first)
    assert changed.status == 200
    assert changed.headers["etag"] != first


@pytest.mark.parametrize("path", ["/api/jobs", "/jobs", "/api/schedules"])
async def test_a_parameter_that_is_said_twice_is_refused_and_not_dropped(
    world: GatewayWorld, path: str
) -> None:
    """Whoever asks for two queues would get the jobs of one, and take them for all."""
    answer = await world.get(f"{path}?q=a&limit=5&q=b")
    assert (answer.status, answer.pointers) == (422, ["/q"])
    assert (await world.get(f"{path}?q=a&limit=5")).status == 200


async def test_so_it_is_on_the_pages_of_one_job_and_of_one_schedule(world: GatewayWorld) -> None:
    job_id = await world.submitted()
    schedule_id = (await world.post("/api/schedules", {"every": 60})).json["id"]
    for path in (f"/api/jobs/{job_id}/executions", f"/api/schedules/{schedule_id}/fires"):
        assert (await world.get(f"{path}?limit=5")).status == 200
        assert (await world.get(f"{path}?limit=5&limit=6")).pointers == ["/limit"]


async def test_states_may_be_several(world: GatewayWorld) -> None:
    await world.submitted(delay=60)
    page = (await world.get("/api/jobs?status=pending&status=dead")).json
    assert len(page["items"]) == 1


async def test_a_job_accepted_a_moment_ago_is_waited_for(world: GatewayWorld) -> None:
    job_id = (await world.post("/api/jobs", {})).json["id"]
    request = asyncio.ensure_future(world.get(f"/api/jobs/{job_id}"))
    await world.clock.run(1.5)
    assert not request.done()
    await world.ingest()
    assert (await world.until(request, timedelta(seconds=0.5))).status == 200


async def test_nobody_waits_longer_than_two_seconds_for_a_job(world: GatewayWorld) -> None:
    request = asyncio.ensure_future(world.get(f"/api/jobs/{world.chance.job_id()}"))
    await world.clock.run(1.9)
    assert not request.done()
    assert (await world.until(request, timedelta(seconds=0.2))).status == 404


@pytest.mark.parametrize("job_id", [OLD, "6d9c3a5e-0d5c-5f3e-8f3a-0242ac120002", "nonsense"])
async def test_any_other_unknown_id_is_404_at_once(world: GatewayWorld, job_id: str) -> None:
    answer = await world.get(f"/api/jobs/{job_id}")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_without_mongodb_reading_is_503(world: GatewayWorld) -> None:
    world.store.down = True
    for path in ("/api/jobs", f"/api/jobs/{OLD}", "/api/queues", "/api/stats"):
        answer = await world.get(path)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json["server"] == "MongoDB"


# ---------------------------------------------------------------------------------------- list


async def test_a_list_is_newest_first_and_goes_on_where_it_stopped(world: GatewayWorld) -> None:
    ids = []
    for _ in range(5):
        ids.append(await world.submitted())
        world.clock.advance(0.001)
    seen: list[str] = []
    path = "/api/jobs?limit=2"
    while True:
        page = (await world.get(path)).json
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        path = f"/api/jobs?limit=2&cursor={page['next_cursor']}"
    assert seen == ids[::-1]


async def test_a_list_is_narrowed_by_each_filter(world: GatewayWorld) -> None:
    wanted = await world.submitted(name="nightly-report", queue="eu", tags=["a"], command="true")
    await world.submitted(name="other")
    for query in (
        "queue=eu",
        "kind=command",
        "name=nightly-report",
        "tag=a",
        "q=night",
        "queue=eu&kind=command",
    ):
        items = (await world.get(f"/jobs?{query}")).json["items"]
        assert [item["id"] for item in items] == [wanted], query


async def test_status_may_repeat_and_failed_is_dead(world: GatewayWorld) -> None:
    waiting = await world.submitted(delay=60)
    dead = (await world.ended(Failed(ErrorInfo("E", "m"), retryable=False))).id
    await world.ended()
    items = (await world.get("/api/jobs?status=pending&status=failed")).json["items"]
    assert {item["id"] for item in items} == {waiting, dead}


async def test_a_list_is_bounded_by_time(world: GatewayWorld) -> None:
    early = await world.submitted()
    world.clock.advance(60)
    late = await world.submitted()
    border = "2026-01-01T12:00:30Z"
    after = (await world.get(f"/api/jobs?created_after={border}")).json["items"]
    before = (await world.get(f"/api/jobs?created_before={border}")).json["items"]
    assert ([job["id"] for job in after], [job["id"] for job in before]) == ([late], [early])


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("stauts=dead", "/stauts"),
        ("status=buried", "/status/0"),
        ("limit=0", "/limit"),
        ("limit=501", "/limit"),
        ("limit=x", "/limit"),
        ("cursor=nonsense", "/cursor"),
        ("cursor=%E2%98%83", "/cursor"),
        ("kind=email", "/kind"),
        ("created_after=2026-01-01T00:00:00", "/created_after"),
    ],
)
async def test_a_bad_parameter_is_named(world: GatewayWorld, query: str, pointer: str) -> None:
    answer = await world.get(f"/api/jobs?{query}")
    assert (answer.status, answer.pointers) == (422, [pointer])


# ----------------------------------------------------------------------------------- operators


async def test_a_waiting_job_is_cancelled(world: GatewayWorld) -> None:
    job_id = await world.submitted(delay=60)
    answer = await world.post(f"/api/jobs/{job_id}/cancel")
    assert (answer.status, answer.json["status"]) == (200, "cancelled")


@pytest.mark.parametrize("verb", ["cancel", "delete"])
async def test_what_is_ended_while_it_waits_is_not_among_the_next_jobs(
    world: GatewayWorld, verb: str
) -> None:
    job_id = await world.submitted()
    await world.queue.add([Entry(job_id, "default", world.clock.now())])
    assert (await world.get("/api/queues/default/peek")).json["items"] != []
    path = f"/api/jobs/{job_id}"
    await (world.delete(path) if verb == "delete" else world.post(f"{path}/cancel"))
    assert (await world.get("/api/queues/default/peek")).json["items"] == []


async def test_a_running_job_is_cancelled(world: GatewayWorld) -> None:
    job = await world.started()
    answer = await world.post(f"/jobs/{job.id}/cancel")
    assert (answer.status, answer.json["status"]) == (200, "cancelled")


async def test_a_job_that_has_succeeded_is_not_cancelled(world: GatewayWorld) -> None:
    job = await world.ended()
    answer = await world.post(f"/api/jobs/{job.id}/cancel")
    assert (answer.status, answer.headers["content-type"]) == (409, "application/problem+json")


async def test_a_dead_job_is_retried(world: GatewayWorld) -> None:
    job = await world.ended(Failed(ErrorInfo("E", "m"), retryable=False))
    answer = await world.post(f"/api/jobs/{job.id}/retry")
    assert (answer.status, answer.json["status"]) == (200, "pending")
    assert (answer.json["attempt"], answer.json["failures"]) == (1, 0)


async def test_a_waiting_job_is_not_retried(world: GatewayWorld) -> None:
    job_id = await world.submitted(delay=60)
    assert (await world.post(f"/api/jobs/{job_id}/retry")).status == 409


async def test_a_deleted_job_is_gone_with_its_attempts(world: GatewayWorld) -> None:
    job = await world.ended()
    assert (await world.delete(f"/api/jobs/{job.id}")).status == 204
    request = asyncio.ensure_future(world.get(f"/api/jobs/{job.id}/executions"))
    assert (await world.until(request, timedelta(seconds=2.1))).status == 404
    assert (await world.get("/api/jobs")).json["items"] == []
    assert world.store.records == {}


async def test_a_job_that_has_ended_is_deleted_without_a_word_to_redis(world: GatewayWorld) -> None:
    job = await world.ended()
    queue = interposed(world.queue, "withdraw", before=die)
    world.app.state.deps = replace(world.app.state.deps, queue=queue)
    assert (await world.delete(f"/api/jobs/{job.id}")).status == 204


async def test_a_running_job_is_not_deleted(world: GatewayWorld) -> None:
    job = await world.started()
    assert (await world.delete(f"/api/jobs/{job.id}")).status == 409
    assert (await world.get(f"/api/jobs/{job.id}")).status == 200


@pytest.mark.parametrize("verb", ["cancel", "retry"])
async def test_nothing_is_asked_of_a_job_that_is_not_there(world: GatewayWorld, verb: str) -> None:
    assert (await world.post(f"/api/jobs/{OLD}/{verb}")).status == 404
    assert (await world.delete(f"/api/jobs/{OLD}")).status == 404
