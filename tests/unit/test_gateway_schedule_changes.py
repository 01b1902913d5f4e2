"""Schedules are changed, deleted and held, and fired by hand."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from pipeline.domain.schedule import Schedule
from pipeline.domain.states import State
from tests.fakes.clock import START
from tests.fakes.schedule_store import FakeScheduleStore
from tests.gateway_schedules import NINE, created, stored, watched
from tests.gateway_world import GatewayWorld, gateway_world


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


# ------------------------------------------------------------------------------------------- change


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


def before_replace(store: FakeScheduleStore, act: Any) -> None:
    """Let somebody else act between the next edit's reading and its writing."""
    original = store.replace_schedule

    async def replaced(before: Schedule, after: Schedule) -> bool:
        store.replace_schedule = original  # type: ignore[method-assign]
        await act()
        return await original(before, after)

    store.replace_schedule = replaced  # type: ignore[method-assign]


# ----------------------------------------------------------------------------------- pause, trigger


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
    await world.clock.run(0)
    await world.ingest()
    first = await world.until(keyed, timedelta(seconds=1))
    again = await world.post(path, idempotency_key="k")
    assert (first.status, again.json["id"]) == (202, first.json["id"])


async def test_a_trigger_without_rabbitmq_is_503(world: GatewayWorld) -> None:
    path = f"/api/schedules/{await created(world)}/trigger"
    world.intake.down = True
    answer = await world.post(path)
    assert (answer.status, answer.json["server"]) == (503, "RabbitMQ")
