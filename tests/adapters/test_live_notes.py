"""What running attempts tell: one suite, in memory and on Redis."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
import redis

from pipeline.domain.errors import Unavailable
from pipeline.ports import LiveNote, LiveNotes, Progress
from pipeline.queue.keys import LIVE
from pipeline.queue.live_notes import RedisLiveNotes
from tests.fakes.live_notes import FakeLiveNotes

TTL = timedelta(seconds=60)


@pytest_asyncio.fixture(params=["fake", "redis"])
async def notes(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[LiveNotes]:
    if request.param == "fake":
        yield FakeLiveNotes()
        return
    async with RedisLiveNotes(redis_url) as real:
        yield real


async def test_what_was_told_is_there_for_each_attempt_alone(notes: LiveNotes) -> None:
    one = LiveNote(Progress(0.5, "half ü"), "a\nb\n")
    two = LiveNote(None, "c\n")
    await notes.tell({("j", 1): one, ("j", 2): two}, TTL)
    assert await notes.told([("j", 1), ("j", 2), ("j", 3)]) == {("j", 1): one, ("j", 2): two}


async def test_the_last_that_was_told_stands(notes: LiveNotes) -> None:
    await notes.tell({("j", 1): LiveNote(None, "a")}, TTL)
    await notes.tell({("j", 1): LiveNote(Progress(0.1), "b")}, TTL)
    assert (await notes.told([("j", 1)]))["j", 1] == LiveNote(Progress(0.1), "b")


async def test_nothing_is_no_question(notes: LiveNotes) -> None:
    await notes.tell({}, TTL)
    assert await notes.told([]) == {}


async def test_notes_expire_when_nobody_renews_them(redis_url: str) -> None:
    async with RedisLiveNotes(redis_url) as notes:
        await notes.tell({("j", 1): LiveNote()}, TTL)
    with redis.Redis.from_url(redis_url) as client:
        assert 59_000 < client.pttl(LIVE.of("j/1")) <= 60_000


async def test_a_redis_that_is_away_is_unavailable() -> None:
    async with RedisLiveNotes("redis://127.0.0.1:1/0") as notes:
        with pytest.raises(Unavailable):
            await notes.told([("j", 1)])
