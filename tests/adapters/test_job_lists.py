"""Lists page by page: right whatever is asked for, and however early a page is broken off."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pymongo
import pytest

from pipeline.domain.errors import Unavailable
from pipeline.domain.execution import ErrorInfo, Failed, Succeeded
from pipeline.domain.job import Job, Kind
from pipeline.domain.states import VISIBLE_STATES, State
from pipeline.ports import JobFilter, Position
from pipeline.store import listing
from pipeline.store.connect import Document
from pipeline.store.job_store import MongoJobStore
from tests.builders import a_submission, an_id
from tests.store_world import World, a_mongodb_world

FATAL = Failed(ErrorInfo("Boom", "it broke"), retryable=False)
JOBS = 160
WORK: dict[Kind, dict[str, Any]] = {
    Kind.TASK: {"payload": 1},
    Kind.HTTP: {"http": {"url": "https://example.org"}},
    Kind.COMMAND: {"command": "true"},
}
NAMES = (None, "a", "ab", "abc", "abd", "b", "ä", "z\U0010ffff", "\U0010ffff", "\ud7ff", "\ue000")
SCHEDULES = (None, None, an_id(), an_id())


@pytest.fixture
async def world(mongo_url: str) -> AsyncIterator[World]:
    async with a_mongodb_world(mongo_url) as world:
        yield world


async def one_more(world: World, chance: random.Random) -> str:
    """A job with a bit of everything, in whatever state; many share one instant."""
    if chance.random() < 0.4:
        world.clock.advance(chance.choice([0.001, 0.001, 5]))
    body = dict(WORK[chance.choice(list(WORK))])
    body |= {"queue": chance.choice(["default", "default", "eu", "a"])}
    body |= {"tags": chance.sample(["x", "y", "z"], chance.randrange(3))}
    if (name := chance.choice(NAMES)) is not None:
        body["name"] = name
    state = chance.choice(sorted(State))
    if state is State.PENDING:
        body["delay"] = 3600
    submission = a_submission(at=world.now, **body)
    object.__setattr__(submission, "schedule_id", chance.choice(SCHEDULES))
    await world.store.insert([submission], world.now)
    await move(world, submission.id, body["queue"], state)
    return submission.id


async def move(world: World, job_id: str, queue: str, state: State) -> None:
    """From where it was born to where it shall be."""
    if state in (State.CANCELLED, State.BURIED):
        await world.store.cancel_waiting(job_id)
    if state is State.BURIED:
        await world.store.bury(job_id)
    if state in (State.RUNNING, State.SUCCEEDED, State.DEAD):
        job = await world.start(job_id, queue=queue)
        if state is not State.RUNNING:
            await world.end(job, Succeeded() if state is State.SUCCEEDED else FATAL)


def some_filter(chance: random.Random, jobs: Sequence[Job]) -> JobFilter:
    """One to four conditions, or none."""
    instants = sorted({job.created_at for job in jobs})
    every: dict[str, Any] = {
        "states": frozenset(chance.sample(sorted(VISIBLE_STATES), chance.randint(1, 6))),
        "queue": chance.choice(["default", "eu", "a", "none"]),
        "kind": chance.choice(list(Kind)),
        "name": chance.choice(["a", "ab", "ä", "none"]),
        "q": chance.choice(["a", "ab", "abc", "z", "ä", "\U0010ffff", "\ud7ff", "none"]),
        "tag": chance.choice(["x", "y", "none"]),
        "schedule_id": chance.choice([SCHEDULES[2], SCHEDULES[3], an_id()]),
        "created_after": chance.choice(instants),
        "created_before": chance.choice(instants),
    }
    asked = chance.sample(sorted(every), chance.choice([0, 1, 1, 2, 2, 3, 4]))
    return JobFilter(**{name: every[name] for name in asked})


async def paged(
    world: World, wanted: JobFilter, limit: int, chance: random.Random
) -> tuple[list[str], list[str]]:
    """All pages, while others add jobs: the ids in the order they came, and what was added."""
    seen: list[str] = []
    added: list[str] = []
    after: Position | None = None
    while True:
        page = await world.store.list(wanted, limit, after)
        ids = await world.store.list_ids(wanted, limit, after)
        assert [job.id for job in page.jobs][: len(ids.job_ids)] == ids.job_ids[: len(page.jobs)]
        assert len(page.jobs) <= limit
        seen += [job.id for job in page.jobs]
        if page.next_after is None:
            return seen, added
        assert after is None or page.next_after < after
        after = page.next_after
        if chance.random() < 0.2:
            added.append(await one_more(world, chance))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("broken_off", [False, True], ids=["in time", "broken off"])
async def test_pages_hold_all_that_is_asked_for_once_and_in_order_while_jobs_are_added(
    world: World, monkeypatch: pytest.MonkeyPatch, seed: int, broken_off: bool
) -> None:
    """Also where every search is broken off at once, and where nothing is few."""
    chance = random.Random(seed)
    if broken_off:
        monkeypatch.setattr(listing, "_FIRST_STEP", 3)
        monkeypatch.setattr(listing, "_FEW", chance.choice([1, 5, 40]))
        monkeypatch.setattr(listing, "_FEW_TO_FETCH", chance.choice([1, 5, 40]))
        monkeypatch.setattr(listing, "_FIRST_SECONDS", -1.0)
        monkeypatch.setattr(listing, "_SEARCH_SECONDS", -1.0)
    ids = [await one_more(world, chance) for _ in range(JOBS)]
    for _ in range(25):
        world.clock.advance(0.001)
        jobs = list((await world.store.get_many(ids)).values())
        wanted, limit = some_filter(chance, jobs), chance.choice([1, 3, 10, 500])
        seen, added = await paged(world, wanted, limit, chance)
        there = [job for job in jobs if wanted.covers(job)]
        there.sort(key=lambda job: (job.created_at, job.id), reverse=True)
        assert [job_id for job_id in seen if job_id not in added] == [job.id for job in there]
        assert len(seen) == len(set(seen)), wanted
        ids += added


class HeldUp(MongoJobStore):
    """Held up after the list of each state, while `meanwhile` happens."""

    meanwhile: Callable[[], Awaitable[object]]

    async def _search(self, search: Any) -> Any:
        found = await super()._search(search)
        await self.meanwhile()
        return found


@pytest.mark.parametrize("way", ["back", "on"])
async def test_h9_a_job_that_passes_between_the_lists_of_two_states_is_on_the_page_once(
    mongo_url: str, way: str
) -> None:
    """It runs while what waits is read, fails, and waits while what runs is read: on no list. Or it
    waits while what waits is read and runs while what runs is: on both."""
    async with a_mongodb_world(mongo_url, HeldUp) as world:
        store = world.store
        assert isinstance(store, HeldUp)
        job_id = await world.queued(retry={"base": 60, "jitter": "none"})
        if way == "back":
            await world.start(job_id)

        async def pass_by() -> None:
            job = await world.job(job_id)
            if way == "back" and job.state is State.RUNNING:
                await world.end(job, Failed(ErrorInfo("Boom", "it broke")))
            lists.append(job.state)
            if way == "on" and len(lists) == 2:
                await world.start(job_id)

        lists: list[State] = []
        store.meanwhile = pass_by
        alive = frozenset({State.PENDING, State.QUEUED, State.RUNNING})
        page = await store.list_ids(JobFilter(states=alive), 10, None)
        assert len(lists) == len(alive)
        assert page.job_ids == [job_id]


async def test_a_page_that_takes_too_long_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PATIENCE_SECONDS", 0.0001)
    with pytest.raises(Unavailable):
        await world.store.list(JobFilter(), 10, None)


# -- what MongoDB looks at

CROWD, RARE = 1_500, 7


@pytest.fixture
async def crowd(world: World) -> World:
    """Many jobs of one kind, older and younger than the few of another."""
    await _crowd(world, CROWD)
    for number in range(RARE):
        rare = a_submission(
            at=world.now, name=f"rare-{number}", queue="rare", command="true", tags=["rare"]
        )
        object.__setattr__(rare, "schedule_id", SCHEDULES[2])
        await world.store.insert([rare], world.now)
        world.clock.advance(1)
    await world.store.insert([a_submission(at=world.now, delay=3600)], world.now)
    await _crowd(world, CROWD)
    return world


async def _crowd(world: World, number: int) -> None:
    jobs = [a_submission(at=world.now, name="usual", tags=["usual"]) for _ in range(number)]
    await world.store.insert(jobs, world.now)
    await world.store.cancel_waiting_many([job.id for job in jobs], JobFilter())
    world.clock.advance(60)


@pytest.mark.parametrize(
    ("wanted", "matching", "at_most"),
    [
        (JobFilter(), 2 * CROWD + RARE + 1, 51),
        (JobFilter(queue="rare"), RARE, RARE),
        (JobFilter(kind=Kind.COMMAND), RARE, RARE),
        (JobFilter(tag="rare"), RARE, RARE),
        (JobFilter(tag="usual"), 2 * CROWD, 51),
        (JobFilter(name="rare-3"), 1, 1),
        (JobFilter(schedule_id=SCHEDULES[2]), RARE, RARE),
        (JobFilter(q="usu"), 2 * CROWD, 51),
        (JobFilter(states=frozenset({State.PENDING})), 1, 1),
        (JobFilter(states=frozenset({State.CANCELLED})), 2 * CROWD, 51),
        (JobFilter(queue="rare", tag="rare"), RARE, RARE),
        (JobFilter(queue="rare", states=frozenset({State.QUEUED})), RARE, RARE),
    ],
    ids=lambda value: None if isinstance(value, int) else str(value)[9:60],
)
async def test_a_page_looks_at_what_it_shows_and_never_at_everything(
    crowd: World, mongo_url: str, wanted: JobFilter, matching: int, at_most: int
) -> None:
    page, looked_at, plans = await profiled(crowd, mongo_url, wanted)
    assert len(page) == min(matching, 50)
    assert looked_at <= at_most
    assert not [plan for plan in plans if "COLLSCAN" in plan]


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter(q="rare-"),
        JobFilter(q="nobody"),
        JobFilter(states=frozenset({State.QUEUED})),
        JobFilter(states=frozenset({State.RUNNING})),
        JobFilter(tag="usual", queue="rare"),
        JobFilter(tag="usual", kind=Kind.COMMAND),
    ],
    ids=lambda value: str(value)[9:60],
)
async def test_what_is_rare_is_found_by_the_index_that_holds_few(
    crowd: World, mongo_url: str, monkeypatch: pytest.MonkeyPatch, wanted: JobFilter
) -> None:
    """A first look at the newest jobs, as for all lists; then not at the other three thousand."""
    monkeypatch.setattr(listing, "_FIRST_SECONDS", -1.0)
    jobs = list((await crowd.store.list(JobFilter(), 500, None)).jobs)
    assert len(jobs) == 500
    page, looked_at, plans = await profiled(crowd, mongo_url, wanted)
    assert page <= {f"rare-{number}" for number in range(RARE)}
    assert len(page) == (RARE if wanted.q == "rare-" or State.QUEUED in wanted.states else 0)
    assert looked_at <= listing._FIRST_STEP + 2 * RARE
    assert not [plan for plan in plans if "COLLSCAN" in plan]


async def profiled(
    world: World, mongo_url: str, wanted: JobFilter
) -> tuple[Any, int, Sequence[str]]:
    """The names (or the ids) on a page, the documents that were read for it, and the plans."""
    with pymongo.MongoClient[Document](mongo_url) as client:
        database = client.get_default_database()
        database.command("profile", 2)
        page = await world.store.list(wanted, 50, None)
        database.command("profile", 0)
        profile = list(database["system.profile"].find({"ns": f"{database.name}.jobs"}))
    names = {job.spec.name for job in page.jobs}
    found: Any = names if wanted.q or wanted.states or wanted.tag == "usual" else page.jobs
    if len(page.jobs) == 50:
        found = page.jobs
    looked_at = sum(each.get("docsExamined", 0) for each in profile)
    return found, looked_at, [str(each.get("planSummary", "")) for each in profile]
