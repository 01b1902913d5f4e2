"""A process of `dueq up` on real processes: what becomes of it when it dies."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from infra.roles.death import death_of
from infra.up.member import Supervised
from infra.up.plan import Member
from pipeline.ports import Death
from tests.support import eventually

NAMELESS = 40
"""A signal that `signal.Signals` has no name for."""


@asynccontextmanager
async def watched(data: Path, told: list[str]) -> AsyncIterator[Supervised]:
    """One that sleeps, started and watched."""
    member = Supervised(
        Member("worker", 1, "127.0.0.1", 9, ("sleep", "600"), {}), data, told.append
    )
    await member.start()
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(member.watch())
        try:
            yield member
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            await member.stop(5)


def kill(member: Supervised, number: int = signal.SIGKILL) -> int:
    """End it from outside; its pid."""
    assert member.pid is not None
    pid = member.pid
    os.kill(pid, number)
    return pid


async def test_a_member_that_dies_is_started_again(tmp_path: Path) -> None:
    told: list[str] = []
    async with watched(tmp_path, told) as member:
        pid = kill(member)
        await eventually(lambda: member.pid not in (None, pid), timeout=20)
    assert "worker-1 died (SIGKILL); starting it again" in told[0]


async def test_who_asks_is_told_how_a_member_died_before_it_is_started_again(
    tmp_path: Path,
) -> None:
    told: list[Death] = []
    async with watched(tmp_path, []) as member:

        async def tell(pid: int, code: int) -> None:
            assert member.pid is None
            told.append(death_of(pid, code, member.last_lines))

        member.on_death = tell
        member.log.write_text("first\nlast words\n")
        first = kill(member)
        await eventually(lambda: member.pid not in (None, first), timeout=20)
        with member.log.open("a") as log:
            log.write("of its next life\n")
        second = kill(member, NAMELESS)
        await eventually(lambda: member.pid not in (None, second), timeout=20)
    assert [(each.pid, each.signal, each.exit_code) for each in told] == [
        (first, "SIGKILL", None), (second, "signal 40", None)
    ]  # fmt: skip
    assert [each.log for each in told] == ["first\nlast words", "of its next life"]


async def test_a_member_that_cannot_be_started_at_the_moment_is_tried_until_it_can(
    tmp_path: Path,
) -> None:
    """No process, memory or descriptor to spare: an `OSError` that must not end all the others."""
    told: list[str] = []
    async with watched(tmp_path, told) as member:
        folder, aside = tmp_path / "worker-1", tmp_path / "aside"
        folder.rename(aside)
        folder.touch()  # no output can be opened in it
        kill(member)
        await eventually(lambda: any("could not be started" in line for line in told), timeout=20)
        folder.unlink()
        aside.rename(folder)
        await eventually(lambda: member.pid, timeout=20)
