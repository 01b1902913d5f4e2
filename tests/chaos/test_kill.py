"""`kill -9` of every role in the middle of the work, then FLUSHALL: nothing is lost.

`just chaos` runs 2,000 jobs through one round of faults, `just chaos-long` 50,000 through 25. Other
sizes: DUEQ_CHAOS_JOBS, DUEQ_CHAOS_ROUNDS. DUEQ_CHAOS_MUTANT plants a bug (`mutants.MUTANTS`), and
then this test must fail. Servers and processes are the test's own.
"""

import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from infra.local.servers import LocalServers
from tests.chaos.checker import violations
from tests.chaos.client import Ledger
from tests.chaos.history import History, Orphan
from tests.chaos.inspection import Inside, Reader, introduce, look_for_orphans, until_drained
from tests.chaos.load import Gate, Load, run_load
from tests.chaos.summary import summarise
from tests.chaos.system import Member, Part, System
from tests.support import eventually

PARTS = (
    *[Part("gateway")] * 2,
    *[Part("ingest")] * 2,
    *[Part("watcher")] * 2,
    *[Part("worker")] * 2,
    Part("worker", crash="worker-before-settle:10"),
)
QUEUE = "default"
ROLES = ("gateway", "ingest", "watcher", "worker")
JOBS, LONG_JOBS = 2_000, 50_000
ROUNDS, LONG_ROUNDS = 1, 25
JOBS_PER_SECOND = 160
SETTLE_SECONDS = 45.0
PROGRESS_SECONDS = 60.0
JOBS_IN_REDIS = 5
DOOMED_JOBS = 300
"""More than enough that each worker settles ten times."""
SHOWN = 10


@pytest_asyncio.fixture
async def system(private_servers: LocalServers, tmp_path: Path) -> AsyncIterator[System]:
    """Several of everything."""
    mutant = os.environ.get("DUEQ_CHAOS_MUTANT")
    async with System(private_servers.urls, tmp_path / "system", mutant) as system:
        await system.start(*PARTS)
        yield system


async def test_nothing_is_lost_when_every_role_is_killed_and_redis_is_wiped(
    system: System, long_form: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = int(os.environ.get("DUEQ_CHAOS_JOBS", LONG_JOBS if long_form else JOBS))
    rounds = int(os.environ.get("DUEQ_CHAOS_ROUNDS", LONG_ROUNDS if long_form else ROUNDS))
    ledger, inside = Ledger(), Inside(system.urls)
    faults = Faults(system, jobs, ledger, inside)
    try:
        await faults.watch_the_doomed()
        async with run_load(system, Load(jobs, JOBS_PER_SECOND), ledger, faults.gate):
            await faults.await_the_doomed()
            for number in range(rounds):
                await faults.one_round(number / rounds, (number + 1) / rounds)
        history = await _history(system, ledger, inside, faults.orphans)
    finally:
        inside.close()
    with capsys.disabled():
        sys.stdout.write("\n  ".join(["", *summarise(history).lines(faults.done), ""]))
    assert len(ledger.accepted) == jobs
    assert violations(history)[:SHOWN] == []


class Faults:
    """What is done to a system while jobs come in."""

    def __init__(self, system: System, jobs: int, ledger: Ledger, inside: Inside) -> None:
        self.done: list[str] = []
        self.orphans: list[Orphan] = []
        self.gate = Gate()
        self._system = system
        self._jobs = jobs
        self._ledger = ledger
        self._inside = inside
        self._chance = random.Random(jobs)
        (self._doomed,) = [one for one in system.members if one.part.crash]

    async def watch_the_doomed(self) -> None:
        """One worker has a crash point between record and settle: who will find its jobs?"""
        await introduce(self._inside, QUEUE)
        await look_for_orphans(self._doomed, self._inside, QUEUE, self.orphans)

    async def await_the_doomed(self) -> None:
        """Return when it has died there and lives again."""
        self.gate.open_to(DOOMED_JOBS)
        await self._system.until_dead(self._doomed, PROGRESS_SECONDS)
        self._tell(f"{self._doomed.name} before its settle")

    async def one_round(self, begin: float, end: float) -> None:
        """Each role once, then Redis, spread over the part of the load from `begin` to `end`."""
        step = (end - begin) / (len(ROLES) + 2)
        for number, role in enumerate(ROLES, 1):
            await self._until_accepted(begin + number * step, step)
            await self._kill(self._chance.choice(self._candidates(role)))
        await self._until_accepted(begin + (len(ROLES) + 1) * step, step)
        await self._wipe()

    def _candidates(self, role: str) -> Sequence[Member]:
        return [one for one in self._system.of(role) if one is not self._doomed]

    async def _until_accepted(self, share: float, more: float) -> None:
        """Return when this share is accepted and as much as `more` is still to come."""
        self.gate.open_to(max(DOOMED_JOBS, round((share + more) * self._jobs)))
        await eventually(
            lambda: len(self._ledger.accepted) >= share * self._jobs, PROGRESS_SECONDS, every=0.01
        )

    async def _kill(self, member: Member) -> None:
        if member.part.role == "worker":
            await eventually(lambda: self._inside.is_busy(member.pid), PROGRESS_SECONDS)
        member.kill()
        self._tell(f"kill -9 {member.name}")

    async def _wipe(self) -> None:
        """When jobs wait there: else it would prove nothing."""
        count = await eventually(self._waiting, PROGRESS_SECONDS, every=0.005)
        self._inside.flush()
        self._tell(f"FLUSHALL of {count} jobs")

    def _waiting(self) -> int:
        count = sum(len(members) for members in self._inside.waiting(QUEUE).values())
        return count if count >= JOBS_IN_REDIS else 0

    def _tell(self, fault: str) -> None:
        self.done.append(f"{fault} at job {len(self._ledger.accepted)}")


async def _history(
    system: System, ledger: Ledger, inside: Inside, orphans: Sequence[Orphan]
) -> History:
    """When all is over, or when it has taken too long."""
    for member in system.members:
        await system.until_ready(member)
    async with Reader(system.of("gateway")[0].url) as reader:
        await until_drained(reader, inside, ledger.accepted, QUEUE, SETTLE_SECONDS)
        told = await reader.told(QUEUE)
    waiting: dict[str, Sequence[str]] = dict(inside.waiting(QUEUE))
    return History(ledger.asked, ledger.accepted, system.seen(), told, waiting, orphans)
