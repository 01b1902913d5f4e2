"""Schedules as their owners see them, one suite on the fake and on MongoDB."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pymongo
import pytest

from tests.fakes.clock import START
from tests.schedule_store_world import World, a_world
from tests.schedules import a_schedule, a_skip, an_advance

MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["fake", "mongodb"])
async def world(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[World]:
    async with a_world(request.param, mongo_url) as world:
        yield world


# -- owners


async def test_a_schedule_reads_back_as_it_was_asked_for(world: World) -> None:
    schedule = await world.stored(
        name="n", cron="H 9 * * 1-5", timezone="Europe/Berlin", job={"payload": {"a.b": [1, None]}}
    )
    assert await world.store.get_schedule(schedule.id) == schedule
    assert await world.store.get_schedule("unknown") is None


async def test_an_id_is_used_once(world: World) -> None:
    schedule = await world.stored(name="first")
    assert not await world.store.insert_schedule(a_schedule(id=schedule.id, name="second"))
    assert (await world.again(schedule)).spec.name == "first"


async def test_an_owner_replaces_only_what_he_has_read(world: World) -> None:
    before = await world.stored()
    after = replace(before, version=2, body={"every": 60, "name": "new"})
    assert await world.store.replace_schedule(before, after)
    assert not await world.store.replace_schedule(before, replace(before, version=2))
    assert (await world.again(before)).body["name"] == "new"


async def test_a_replacement_loses_to_a_fire_in_between(world: World) -> None:
    """Else it would set `next_fire_at` back over a fire time that is used."""
    before = await world.stored()
    await world.store.advance([an_advance(before)], START)
    assert not await world.store.replace_schedule(before, replace(before, version=2))


async def test_a_replacement_loses_to_a_fire_that_was_held_in_between(world: World) -> None:
    """Else what waits for a run to end would look as if nobody had been watching."""
    before = await world.stored(overlap="queue")
    await world.store.advance([an_advance(before, is_held=True)], START)
    assert not await world.store.replace_schedule(before, replace(before, version=2))


async def test_a_deleted_schedule_is_gone_with_its_skips_and_without_its_jobs(
    world: World,
) -> None:
    schedule = await world.stored()
    job_id = await world.fired(schedule, START + MINUTE)
    await world.store.advance([an_advance(schedule, a_skip(START))], START)
    assert await world.store.delete_schedule(schedule)
    assert await world.store.get_schedule(schedule.id) is None
    assert await world.store.skipped(schedule.id, 10, None) == []
    assert await world.store.next_look_at() is None
    assert await world.jobs.get(job_id) is not None


async def test_a_deletion_names_the_version_and_may_be_repeated(world: World) -> None:
    schedule = await world.stored()
    await world.store.replace_schedule(schedule, replace(schedule, version=2))
    assert not await world.store.delete_schedule(schedule)
    current = await world.again(schedule)
    assert await world.store.delete_schedule(current)
    assert await world.store.delete_schedule(current)


async def test_a_list_is_newest_first_and_its_pages_do_not_overlap(world: World) -> None:
    ids = [
        (await world.stored(at=START + timedelta(milliseconds=number // 2))).id
        for number in range(7)
    ]
    first = await world.store.list_schedules(4, None)
    await world.stored(at=START + MINUTE)
    second = await world.store.list_schedules(4, first.next_after)
    assert [each.id for each in (*first.schedules, *second.schedules)] == ids[::-1]
    assert second.next_after is None


async def test_a_list_can_be_searched_by_the_start_of_the_name(world: World) -> None:
    nightly = await world.stored(name="nightly-report")
    await world.stored(name="hourly-report")
    await world.stored()
    for q, expected in (("night", [nightly.id]), (".*", []), ("report", [])):
        page = await world.store.list_schedules(10, None, q)
        assert [each.id for each in page.schedules] == expected


async def test_the_start_of_a_name_may_be_followed_by_any_character_there_is(world: World) -> None:
    """Up to the last one of all, after which no other can bound the search."""
    names = ["a", "a\U0010ffff", "a\U0010ffffb", "a\U0010ffff\U0010ffff", "ab", "b", "\U0010ffff"]
    for name in names:
        await world.stored(name=name)
    for q in ("a", "a\U0010ffff", "\U0010ffff"):
        page = await world.store.list_schedules(10, None, q)
        found = sorted(each.spec.name or "" for each in page.schedules)
        assert found == sorted(name for name in names if name.startswith(q))


# -- MongoDB alone


async def test_a_schedule_of_another_version_hurts_nobody_else(mongo_url: str) -> None:
    """It is seen as it was written, never fires here, and its neighbours are in time."""
    async with a_world("mongodb", mongo_url) as world:
        theirs = [await world.stored() for _ in range(30)]
        ours = await world.stored(at=START + MINUTE)
        with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
            client.get_default_database().schedules.update_many(
                {"_id": {"$ne": ours.id}}, {"$set": {"spec.of_a_later_version": True}}
            )
        for limit in (5, 50):
            found = await world.store.schedules_to_look_at(START + 9 * MINUTE, limit)
            assert found == [ours]
        assert await world.store.next_look_at() == ours.look_at
        shown = await world.again(theirs[0])
        assert (shown.body["of_a_later_version"], shown.look_at) == (True, None)
        assert len((await world.store.list_schedules(50, None)).schedules) == 31
