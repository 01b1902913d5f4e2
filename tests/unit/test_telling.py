"""What running attempts tell reaches the world, seldom, and costs nothing if nothing is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from pipeline.ports import LiveNote, Progress
from tests.builders import a_job
from tests.fakes.clock import ManualClock
from tests.fakes.live_notes import FakeLiveNotes
from workers.notes import LIVE_BYTES, Notes
from workers.telling import Telling

LEASE = timedelta(seconds=300)


class World:
    def __init__(self) -> None:
        self.clock, self.live, self.notes = ManualClock(), FakeLiveNotes(), Notes()

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(Telling(self.notes, self.live, self.clock, LEASE).run())
        await self.clock.run(0)
        yield
        task.cancel()


async def test_what_is_told_is_seen_with_progress_and_log() -> None:
    world = World()
    async with world.telling():
        with world.notes.of(a_job(id="j", attempt=2)) as note:
            note.progress(0.5, "half")
            note.line("hello")
            await world.clock.run(1)
            assert world.live.notes == {("j", 2): LiveNote(Progress(0.5, "half"), "hello\n")}


def test_who_takes_secrets_out_is_told_how_much_came_before() -> None:
    asked: list[int] = []

    def clean(log: bytes, before: int) -> bytes:
        asked.append(before)
        return log

    with World().notes.of(a_job(id="j"), clean) as note:
        for _ in range(2):
            note.write(b"x" * LIVE_BYTES)
            assert len(note.live.log) == LIVE_BYTES
    assert asked == [0, LIVE_BYTES]


async def test_however_much_is_told_it_is_written_twice_a_second() -> None:
    world = World()
    async with world.telling():
        with world.notes.of(a_job(id="j")) as one, world.notes.of(a_job(id="k")) as two:
            for _ in range(100):
                one.line("x")
                two.line("y")
                await world.clock.run(0.1)
    assert 15 <= world.live.calls <= 25


async def test_who_tells_nothing_costs_nothing() -> None:
    world = World()
    async with world.telling():
        with world.notes.of(a_job()):
            await world.clock.run(120)
    assert world.live.calls == 0


async def test_who_has_ended_before_anybody_looked_is_told_by_its_record_alone() -> None:
    world = World()
    async with world.telling():
        with world.notes.of(a_job()) as note:
            note.line("quick")
        await world.clock.run(5)
    assert world.live.notes == {}


async def test_what_was_told_once_is_renewed_while_its_attempt_runs() -> None:
    world = World()
    async with world.telling():
        with world.notes.of(a_job(id="j")) as note:
            note.line("hello")
            await world.clock.run(1)
            world.live.notes.clear()
            await world.clock.run(45)
            assert ("j", 1) in world.live.notes
        world.live.notes.clear()
        await world.clock.run(120)
        assert world.live.notes == {}


async def test_what_was_told_outlives_the_lease_so_that_it_can_be_recorded_as_lost() -> None:
    world = World()
    async with world.telling():
        with world.notes.of(a_job(id="j")) as note:
            note.line("hello")
            await world.clock.run(0)
            assert world.live.ttl > LEASE


async def test_an_outage_loses_nothing_for_good() -> None:
    world = World()
    async with world.telling():
        with world.notes.of(a_job(id="j")) as note:
            world.live.go_down()
            note.line("hello")
            await world.clock.run(2)
            world.live.come_back()
            await world.clock.run(45)
            assert world.live.notes["j", 1].log == "hello\n"
