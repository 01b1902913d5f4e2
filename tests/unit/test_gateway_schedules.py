"""The routes of schedules."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from gateway.deps import Limits
from pipeline.domain.errors import UnknownOutcome
from pipeline.domain.firing import Plan, Skip, SkipReason, decide
from pipeline.domain.schedule import Schedule
from pipeline.domain.states import State
from pipeline.ports import Advance
from tests.fakes.clock import START
from tests.fakes.schedule_store import FakeScheduleStore
from tests.gateway_world import GatewayWorld, gateway_world

NINE = {"name": "nightly", "cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"}
HOUR = timedelta(hours=1)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


async def created(world: GatewayWorld, **body: Any) -> str:
    answer = await world.post("/api/schedules", body or NINE)
    assert answer.status == 201, answer.body
    schedule_id: str = answer.json["id"]
    return schedule_id


async def stored(world: GatewayWorld, schedule_id: str) -> Schedule:
    schedule = await world.schedules.get_schedule(schedule_id)
    assert schedule is not None
    return schedule


async def watched(world: GatewayWorld, schedule_id: str) -> None:
    """A watcher decides about it now."""
    schedule = await stored(world, schedule_id)
    plan = decide(schedule, world.clock.now(), busy=False)
    await world.store.insert(
        [
            schedule.submission(run.fire_time, run.fire_time, 5, world.clock.now())
            for run in plan.runs
        ],
        world.clock.now(),
    )
    await world.schedules.advance([Advance(schedule, plan)], world.clock.now())


# ------------------------------------------------------------------------------------- create


async def test_a_schedule_is_stored_and_says_when_it_fires(world: GatewayWorld) -> None:
    answer = await world.post("/api/schedules", NINE)
    assert answer.status == 201
    schedule_id = answer.json["id"]
    assert answer.headers["location"] == f"/api/schedules/{schedule_id}"
    assert answer.headers["etag"] == '"1"'
    assert (await stored(world, schedule_id)).body == NINE
    assert answer.json == {
        **NINE,
        "id": schedule_id,
        "job": {},
        "misfire": "latest",
        "misfire_grace": 3600.0,
        "overlap": "allow",
        "jitter": 0.0,
        "start_at": None,
        "end_at": None,
        "paused": False,
        "gap": None,
        "repeat": None,
        "in_words": "At 09:00 on Monday through Friday",
        "next_fire_at": "2026-01-02T08:00:00.000Z",
        "last_fire_at": None,
        "version": 1,
        "created_at": "2026-01-01T12:00:00.000Z",
        "updated_at": "2026-01-01T12:00:00.000Z",
    }
    assert (await world.get(answer.headers["location"])).json == answer.json


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"cron": "0 0 30 2 *"}, ["/cron"]),
        ({"cron": "0 9 * * *", "job": {"http": {"url": "nowhere"}}}, ["/job/http/url"]),
        ({"cron": "0 9 * * *", "job": {"delay": 5}}, ["/job/delay"]),
        ({"cron": "0 9 * * *", "overlp": "skip", "jitter": -1}, ["/jitter", "/overlp"]),
        (b'{"every": 60, "job": {"payload": NaN}}', [""]),
        (b'{"every": 60, "job": {"payload": 9223372036854775808}}', ["/job/payload"]),
        (b"[" * 40 + b"]" * 40, ["/0" * 32]),
        (b"", [""]),
    ],
)
async def test_a_bad_one_is_refused_with_its_places_and_nothing_is_stored(
    world: GatewayWorld, body: Any, pointers: list[str]
) -> None:
    answer = await world.post("/api/schedules", body)
    assert answer.status == 422
    assert sorted(answer.pointers) == pointers
    assert world.schedules.schedules == {}


async def test_it_is_as_large_as_a_job_at_most_and_json() -> None:
    async with gateway_world(limits=Limits(job_bytes=100)) as world:
        assert (await world.post("/api/schedules", {"x": "y" * 100})).status == 413
        lines = await world.post("/api/schedules", NINE, content_type="application/x-ndjson")
        assert lines.status == 415


async def test_the_same_key_and_body_is_the_same_schedule_another_body_is_an_error(
    world: GatewayWorld,
) -> None:
    first = await world.post("/api/schedules", NINE, idempotency_key="k")
    again = await world.post("/api/schedules", NINE, idempotency_key="k")
    assert (again.status, again.json) == (201, first.json)
    other = await world.post("/api/schedules", {"every": 60}, idempotency_key="k")
    assert (other.status, other.json["code"]) == (422, "conflict")
    assert len(world.schedules.schedules) == 1


async def test_two_at_once_under_one_key_make_one_schedule(world: GatewayWorld) -> None:
    answers = await asyncio.gather(
        *(world.post("/api/schedules", NINE, idempotency_key="k") for _ in range(5))
    )
    assert {answer.json["id"] for answer in answers} == set(world.schedules.schedules)


async def test_an_unknown_outcome_is_503_with_the_id(world: GatewayWorld) -> None:
    world.schedules.fail_next("insert_schedule", UnknownOutcome, applied=True)
    answer = await world.post("/api/schedules", NINE)
    assert (answer.status, list(world.schedules.schedules)) == (503, [answer.json["id"]])


async def test_without_mongodb_it_is_503(world: GatewayWorld) -> None:
    world.store.down = True
    answer = await world.post("/api/schedules", NINE)
    assert (answer.status, answer.json["server"]) == (503, "MongoDB")


# --------------------------------------------------------------------------------------- list


async def test_a_list_is_newest_first_in_pages_and_by_the_start_of_the_name(
    world: GatewayWorld,
) -> None:
    ids = []
    for number in range(5):
        ids.append(await created(world, name=f"{'ab'[number % 2]}{number}", every=60))
        world.clock.advance(1)
    first = (await world.get("/api/schedules?limit=3")).json
    rest = (await world.get(f"/api/schedules?limit=3&cursor={first['next_cursor']}")).json
    assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    named = (await world.get("/api/schedules?q=b")).json["items"]
    assert [each["name"] for each in named] == ["b3", "b1"]
    assert (await world.get("/api/schedules?limit=501")).pointers == ["/limit"]
    assert (await world.get("/api/schedules?nme=x")).pointers == ["/nme"]
    assert (await world.get("/api/schedules?cursor=x")).pointers == ["/cursor"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"),
        ("POST", "/trigger"), ("GET", "/preview"), ("GET", "/fires"),
    ],
)  # fmt: skip
async def test_one_that_is_not_there_is_404(world: GatewayWorld, method: str, path: str) -> None:
    for unknown in (world.chance.job_id(), "no-uuid"):
        parts = [b"{}"] if method == "PATCH" else []
        url = f"/api/schedules/{unknown}{path}"
        answer = await world.request(method, url, parts, content_type="application/json")
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


# -------------------------------------------------------------------------------------- change


async def test_a_patch_merges_and_leaves_what_it_does_not_name(world: GatewayWorld) -> None:
    schedule_id = await created(world, **NINE, job={"payload": {"a": 1, "b": 2}})
    world.clock.advance(60)
    answer = await world.patch(
        f"/api/schedules/{schedule_id}", {"name": None, "job": {"payload": {"b": 3}}}
    )
    assert (answer.status, answer.headers["etag"]) == (200, '"2"')
    assert (answer.json["name"], answer.json["job"]) == (None, {"payload": {"a": 1, "b": 3}})
    assert answer.json["updated_at"] == "2026-01-01T12:01:00.000Z"
    assert answer.json["next_fire_at"] == "2026-01-02T08:00:00.000Z"


async def test_a_patch_may_call_itself_json_and_nothing_else(world: GatewayWorld) -> None:
    path = f"/api/schedules/{await created(world)}"
    plain = await world.patch(path, {"name": "x"}, content_type="application/json")
    assert plain.status == 200
    for media in ("text/plain", "application/x-ndjson", "application/json-patch+json"):
        assert (await world.patch(path, {"name": "y"}, content_type=media)).status == 415


async def test_a_patch_that_spoils_the_whole_is_refused_and_changes_nothing(
    world: GatewayWorld,
) -> None:
    schedule_id = await created(world)
    answer = await world.patch(f"/api/schedules/{schedule_id}", {"cron": "0 0 31 4 *"})
    assert (answer.status, answer.pointers) == (422, ["/cron"])
    assert (await stored(world, schedule_id)).version == 1


async def test_many_small_patches_do_not_grow_it_over_the_limit(world: GatewayWorld) -> None:
    path = f"/api/schedules/{await created(world)}"
    answers = [
        await world.patch(path, {"job": {"payload": {str(number): "x" * 100_000}}})
        for number in range(3)
    ]
    assert [answer.status for answer in answers] == [200, 200, 413]


@pytest.mark.parametrize(
    ("header", "status"),
    [('"1"', 200), ("*", 200), ('"7", "1"', 200), ('"2"', 412), ('W/"1"', 412), ("1", 412)],
)
async def test_if_match_names_the_version_that_may_be_changed(
    world: GatewayWorld, header: str, status: int
) -> None:
    path = f"/api/schedules/{await created(world)}"
    assert (await world.patch(path, {"name": "x"}, if_match=header)).status == status
    if status == 412:
        assert (await world.delete(path, if_match=header)).status == status
        assert (await world.post(f"{path}/pause", if_match=header)).status == status


async def test_a_patch_that_meets_a_fire_loses_neither(world: GatewayWorld) -> None:
    """read by the edit → the watcher fires → the edit's write matches nothing → read again."""
    schedule_id = await created(world, every=60)
    world.clock.advance(57)
    before_replace(world.schedules, lambda: watched(world, schedule_id))
    answer = await world.patch(f"/api/schedules/{schedule_id}", {"name": "x"}, if_match='"1"')
    assert answer.status == 200
    after = await stored(world, schedule_id)
    assert (after.spec.name, after.version) == ("x", 2)
    assert after.fired_until == START + timedelta(minutes=1)
    assert after.next_fire_at == START + timedelta(minutes=2)


async def test_two_patches_at_once_are_both_there_unless_one_named_its_version(
    world: GatewayWorld,
) -> None:
    path = f"/api/schedules/{await created(world, every=60)}"
    before_replace(world.schedules, lambda: world.patch(path, {"job": {"payload": 1}}))
    assert (await world.patch(path, {"name": "x"})).status == 200
    shown = (await world.get(path)).json
    assert (shown["name"], shown["job"], shown["version"]) == ("x", {"payload": 1}, 3)
    before_replace(world.schedules, lambda: world.patch(path, {"job": {"payload": 2}}))
    assert (await world.patch(path, {"name": "y"}, if_match='"3"')).status == 412
    assert (await world.get(path)).json["name"] == "x"


async def test_a_fire_that_has_just_come_is_left_to_the_watchers_before_the_rule_changes(
    world: GatewayWorld,
) -> None:
    schedule_id = await created(world, every=60, overlap="skip")
    world.clock.advance(60)
    request = asyncio.create_task(world.patch(f"/api/schedules/{schedule_id}", {"every": 3600}))
    await world.clock.run(0.1)
    assert not request.done()
    await watched(world, schedule_id)
    assert (await world.until(request, timedelta(seconds=0.1))).status == 200
    (run,) = await world.schedules.runs(schedule_id, 10, None)
    assert run.fire_time == START + timedelta(minutes=1)


async def test_without_watchers_a_changed_rule_does_not_wait_for_long(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=60, overlap="skip")
    world.clock.advance(60)
    request = asyncio.create_task(world.patch(f"/api/schedules/{schedule_id}", {"every": 3600}))
    answer = await world.until(request, timedelta(seconds=3))
    assert answer.json["next_fire_at"] == "2026-01-01T13:00:00.000Z"


async def test_a_deleted_schedule_is_gone_and_its_jobs_stay(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=60)
    world.clock.advance(60)
    await watched(world, schedule_id)
    answer = await world.delete(f"/api/schedules/{schedule_id}")
    assert (answer.status, answer.body) == (204, b"")
    assert (await world.get(f"/api/schedules/{schedule_id}")).status == 404
    assert len((await world.get(f"/api/jobs?schedule_id={schedule_id}")).json["items"]) == 1


# ------------------------------------------------------------------------------ pause, trigger


async def test_a_paused_schedule_fires_no_more_and_passes_over_the_pause(
    world: GatewayWorld,
) -> None:
    path = f"/api/schedules/{await created(world, every=3600)}"
    paused = await world.post(f"{path}/pause")
    assert (paused.json["paused"], paused.json["next_fire_at"]) == (True, None)
    again = await world.post(f"{path}/pause")
    assert again.json["version"] == paused.json["version"] == 2
    assert await world.schedules.next_look_at() is None
    world.clock.advance(10 * 3600 + 5)
    resumed = await world.post(f"{path}/resume")
    assert (resumed.json["paused"], resumed.json["version"]) == (False, 3)
    assert resumed.json["next_fire_at"] == "2026-01-01T23:00:00.000Z"


@pytest.mark.parametrize("ends", ["pause", "delete"])
async def test_no_run_begins_after_a_pause_or_a_delete_though_it_was_stored_ahead(
    world: GatewayWorld, ends: str
) -> None:
    schedule_id = await created(world, every=1)
    world.clock.advance(2.5)
    await watched(world, schedule_id)
    before = await world.schedules.runs(schedule_id, 100, None)

    path = f"/api/schedules/{schedule_id}"
    await (world.post(f"{path}/pause") if ends == "pause" else world.delete(path))

    now = world.clock.now()
    after = await world.schedules.runs(schedule_id, 100, None)
    assert [job.fire_time for job in after] == [job.fire_time for job in before]
    ahead = [job for job in after if job.fire_time is not None and job.fire_time > now]
    assert len(ahead) == 4
    assert {job.state for job in ahead} == {State.CANCELLED}
    assert {job.state for job in after if job not in ahead} == {State.QUEUED}


async def test_a_trigger_is_a_job_now_also_while_paused(world: GatewayWorld) -> None:
    job = {"payload": 7, "queue": "reports", "priority": 2}
    schedule_id = await created(world, every=3600, paused=True, job=job)
    answer = await world.post(f"/api/schedules/{schedule_id}/trigger")
    assert answer.status == 202
    (submission,) = world.intake.submissions
    assert answer.headers["location"] == f"/api/jobs/{submission.id}"
    assert answer.json == {
        "id": submission.id,
        "status": "queued",
        "kind": "task",
        "queue": "reports",
        "due_at": "2026-01-01T12:00:00.000Z",
    }
    assert (submission.schedule_id, submission.fire_time) == (schedule_id, START)
    assert (submission.body, submission.spec.priority) == (job, 2)
    await world.ingest()
    shown = (await world.get(f"/api/jobs/{submission.id}")).json
    assert shown["schedule_id"] == schedule_id


async def test_every_trigger_is_another_job_unless_it_has_a_key(world: GatewayWorld) -> None:
    path = f"/api/schedules/{await created(world)}/trigger"
    ids = {(await world.post(path)).json["id"] for _ in range(3)}
    assert len(ids) == 3
    keyed = asyncio.create_task(world.post(path, idempotency_key="k"))
    await asyncio.sleep(0.01)
    await world.ingest()
    first = await world.until(keyed, timedelta(seconds=1))
    again = await world.post(path, idempotency_key="k")
    assert (first.status, again.json["id"]) == (202, first.json["id"])


async def test_a_trigger_without_rabbitmq_is_503(world: GatewayWorld) -> None:
    path = f"/api/schedules/{await created(world)}/trigger"
    world.intake.down = True
    answer = await world.post(path)
    assert (answer.status, answer.json["server"]) == (503, "RabbitMQ")


# ------------------------------------------------------------------------------------- preview


async def test_a_preview_tells_utc_and_local_time_and_every_change_of_the_clock(
    world: GatewayWorld,
) -> None:
    body = {"cron": "30 2 * * SUN", "timezone": "Europe/Berlin", "start_at": "2026-03-22T00:00:00Z"}
    answer = await world.post("/api/schedules/preview?n=2", body)
    assert answer.json == {
        "in_words": "At 02:30 on Sunday",
        "timezone": "Europe/Berlin",
        "items": [
            {
                "at": "2026-03-22T01:30:00.000Z",
                "local": "2026-03-22T02:30:00.000+01:00",
                "note": None,
            },
            {
                "at": "2026-03-29T01:00:00.000Z",
                "local": "2026-03-29T03:00:00.000+02:00",
                "note": "on 2026-03-29 the clock goes forward from 02:00 to 03:00; "
                "02:30 of 2026-03-29 does not exist: "
                "fires at the moment of the change (gap: shift)",
            },
        ],
        "clock_changes": [
            {
                "at": "2026-03-29T01:00:00.000Z",
                "local_before": "2026-03-29T02:00:00.000+01:00",
                "local_after": "2026-03-29T03:00:00.000+02:00",
                "note": "on 2026-03-29 the clock goes forward from 02:00 to 03:00",
            }
        ],
        "next_cursor": None,
    }
    assert world.schedules.schedules == {}
    schedule_id = await created(world, **body)
    kept = await world.get(f"/api/schedules/{schedule_id}/preview?n=2")
    assert kept.json == answer.json


async def test_a_preview_shows_ten_and_a_thousand_at_most(world: GatewayWorld) -> None:
    path = f"/api/schedules/{await created(world)}/preview"
    assert len((await world.get(path)).json["items"]) == 10
    assert len((await world.get(f"{path}?n=1000")).json["items"]) == 1000
    for bad in ("n=0", "n=1001", "n=x"):
        assert (await world.get(f"{path}?{bad}")).pointers == ["/n"]
    refused = await world.post("/api/schedules/preview", {"cron": "0 0 30 2 *"})
    assert refused.pointers == ["/cron"]


# --------------------------------------------------------------------------------------- fires


async def test_fires_are_jobs_and_skips_newest_first_over_all_pages(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=3600, misfire="all", misfire_grace=2 * 3600)
    world.clock.advance(5 * 3600)
    await watched(world, schedule_id)
    world.clock.advance(60)
    await world.post(f"/api/schedules/{schedule_id}/trigger")
    await world.ingest()
    seen = await all_fires(world, schedule_id, limit=2)
    assert [(fire["fire_time"][11:16], fire.get("skipped")) for fire in seen] == [
        ("17:01", None),
        ("17:00", None),
        ("16:00", None),
        ("15:00", None),
        ("14:00", "too_late"),
        ("13:00", "too_late"),
    ]
    job = (await world.get(f"/api/jobs/{seen[1]['job_id']}")).json
    assert seen[1] == {
        "fire_time": "2026-01-01T17:00:00.000Z",
        "job_id": job["id"],
        "status": job["status"],
        "due_at": job["due_at"],
    }
    assert seen[4] == {
        "fire_time": "2026-01-01T14:00:00.000Z",
        "until": "2026-01-01T14:00:00.000Z",
        "skipped": "too_late",
        "decided_at": "2026-01-01T17:00:00.000Z",
    }
    assert await all_fires(world, schedule_id, limit=1) == seen


async def test_a_fire_time_that_has_a_job_was_not_skipped(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=3600)
    world.clock.advance(3600)
    schedule = await stored(world, schedule_id)
    await watched(world, schedule_id)
    fire_time = START + HOUR
    skip = Skip(fire_time, fire_time, SkipReason.OVERLAP)
    late = Advance(schedule, Plan((), (skip,), fire_time + HOUR, fire_time))
    await world.schedules.advance([late], world.clock.now())
    (fire,) = await all_fires(world, schedule_id, limit=10)
    assert "job_id" in fire


async def test_jobs_of_one_instant_stay_on_one_page(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=3600)
    for _ in range(3):
        await world.post(f"/api/schedules/{schedule_id}/trigger")
    await world.ingest()
    assert len(await all_fires(world, schedule_id, limit=2)) == 3


async def test_a_job_made_while_the_fires_are_read_hides_its_skip(world: GatewayWorld) -> None:
    """skips are read → the job is made by a watcher that decided differently → jobs are read."""
    schedule_id = await created(world, every=3600)
    world.clock.advance(3600)
    schedule = await stored(world, schedule_id)
    skip = Skip(START + HOUR, START + HOUR, SkipReason.OVERLAP)
    await world.schedules.advance(
        [Advance(schedule, Plan((), (skip,), None, None))], world.clock.now()
    )
    original = world.schedules.skipped

    async def read(*asked: Any) -> Any:
        found = await original(*asked)
        job = schedule.submission(START + HOUR, START + HOUR, 5, world.clock.now())
        await world.store.insert([job], world.clock.now())
        return found

    world.schedules.skipped = read  # type: ignore[method-assign, assignment]
    (fire,) = await all_fires(world, schedule_id, limit=10)
    assert "job_id" in fire


async def all_fires(world: GatewayWorld, schedule_id: str, limit: int) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    path = f"/api/schedules/{schedule_id}/fires?limit={limit}"
    page = (await world.get(path)).json
    seen += page["items"]
    while page["next_cursor"]:
        page = (await world.get(f"{path}&cursor={page['next_cursor']}")).json
        seen += page["items"]
    return seen


# ------------------------------------------------------------------------------------ forecast


async def test_a_forecast_shows_the_heap_before_it_happens(world: GatewayWorld) -> None:
    for number in range(450):
        await created(world, name=str(number), cron="0 9 * * *")
        world.clock.advance(0.001)
    await created(world, every=6 * 3600)
    await created(world, every=60, paused=True)
    answer = (await world.post("/api/schedules/forecast")).json
    assert answer["from"] == "2026-01-01T12:00:00.000Z"
    assert answer["to"] == "2026-01-02T12:00:00.000Z"
    assert (answer["schedules"], answer["total"]) == (451, 453)
    assert answer["busiest"][0] == {"at": "2026-01-02T09:00:00.000Z", "jobs": 450}
    assert [minute["at"][11:16] for minute in answer["minutes"]] == [
        "18:00", "00:00", "06:00", "09:00",
    ]  # fmt: skip


# ---------------------------------------------------------------------------------- description


async def test_the_description_has_the_fields_that_the_answers_have(world: GatewayWorld) -> None:
    schedule_id = await created(world, every=3600, name="x")
    world.clock.advance(3600)
    await watched(world, schedule_id)
    path = f"/api/schedules/{schedule_id}"
    answers = {
        "Schedule": await world.get(path),
        "Schedules": await world.get("/api/schedules"),
        "Preview": await world.get(f"{path}/preview"),
        "Fires": await world.get(f"{path}/fires"),
        "Forecast": await world.post("/api/schedules/forecast"),
        "Submitted": await world.post(f"{path}/trigger"),
    }
    shapes = (await world.get("/openapi.json")).json["components"]["schemas"]
    for name, answer in answers.items():
        fields = set(answer.json)
        assert set(shapes[name]["required"]) <= fields <= set(shapes[name]["properties"])


async def test_every_operation_has_an_example_of_each_answer_and_its_bodies_are_accepted(
    world: GatewayWorld,
) -> None:
    paths = (await world.get("/openapi.json")).json["paths"]
    operations = [
        operation
        for path, each in paths.items()
        if path.startswith("/api/schedules")
        for operation in each.values()
    ]
    assert len(operations) == 12
    for operation in operations:
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                assert content["example"].get("status", int(status)) in (int(status), "queued")
    body = paths["/api/schedules"]["post"]["requestBody"]["content"]["application/json"]["example"]
    schedule_id = await created(world, **body)
    change = paths["/api/schedules/{schedule_id}"]["patch"]["requestBody"]["content"]
    example = change["application/merge-patch+json"]["example"]
    assert (await world.patch(f"/api/schedules/{schedule_id}", example)).status == 200


def before_replace(store: FakeScheduleStore, act: Any) -> None:
    """Let somebody else act between the next edit's reading and its writing."""
    original = store.replace_schedule

    async def replaced(before: Schedule, after: Schedule) -> bool:
        store.replace_schedule = original  # type: ignore[method-assign]
        await act()
        return await original(before, after)

    store.replace_schedule = replaced  # type: ignore[method-assign]
