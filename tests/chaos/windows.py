"""The crash windows of a job's way, and how one of them is lived through.

One process dies at one exact line, with all the jobs of its window in its hands; it starts again
half a second later. Everything else is healthy. Each window has a queue of its own, so that many
may share the same servers and processes and be lived through at the same time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.servers import Urls
from tests.chaos.client import AmqpClient, HttpClient, Ledger, Wish
from tests.chaos.crash import POINTS
from tests.chaos.history import History, Orphan
from tests.chaos.inspection import Inside, Reader, introduce, look_for_orphans, until_drained
from tests.chaos.mutants import MUTANTS
from tests.chaos.sink import Seen, Sighting
from tests.chaos.system import LEASE_SECONDS, Member, Part, System

DEATH_SECONDS = 20.0
RECOVERY_SECONDS = 30.0
"""What may be found late is found by then: a lease, a grace period, two looks of a reconciler."""
GIVEN_UP_SECONDS = 5 * LEASE_SECONDS
"""After this a planted bug has lost what is missing: the real code takes half as long."""
JOBS = 5


@dataclass(frozen=True, slots=True)
class Window:
    """A crash point; with `mutant` it is also known which bug makes it fatal."""

    crash: str
    mutant: str | None = None
    later: float = 0.0
    """Jobs that are due later take another way: stored as pending, then dispatched."""

    @property
    def name(self) -> str:
        """Of its test, and of its queue."""
        return "-".join(word for word in (self.crash, self.mutant) if word)

    @property
    def role(self) -> str:
        """Who dies."""
        return POINTS[self.crash].role

    @property
    def is_alone(self) -> bool:
        """Whether it needs a database of its own: watchers look at every job in theirs."""
        return "watcher" in (self.role, MUTANTS[self.mutant][0] if self.mutant else "")

    @property
    def patience(self) -> float:
        """Seconds from the crash until all is over."""
        return GIVEN_UP_SECONDS if self.mutant else RECOVERY_SECONDS


WINDOWS = (
    Window("gateway-before-publish"),
    Window("gateway-after-publish"),
    Window("ingest-before-insert"),
    Window("ingest-after-insert"),
    Window("ingest-after-add"),
    Window("ingest-before-ack", later=1.0),
    Window("watcher-after-dispatch", later=1.0),
    Window("worker-after-lease"),
    Window("worker-after-start"),
    Window("worker-before-settle"),
    Window("worker-after-settle"),
)
FATAL = (
    Window("ingest-before-insert", "ingest-acknowledges-first"),
    Window("worker-before-settle", "worker-acknowledges-first"),
    Window("ingest-after-insert", "reconciler-is-off"),
)


@dataclass(frozen=True)
class Outlived:
    """What a window leaves: its history, and how often its process died at the point."""

    history: History
    crashes: int


async def live_through_shared(window: Window, system: System, vhost: str) -> Outlived:
    """In a system that has healthy processes of every role but for the window's queue."""
    amqp = vhost if window.role == "ingest" else None
    (victim,) = await system.start(_victim(window, amqp))
    return await _live_through(window, system, victim)


async def live_through_alone(window: Window, urls: Urls, folder: Path) -> Outlived:
    """In a system of its own."""
    async with System(urls, folder, window.mutant) as system:
        healthy = [part for part in bystanders([window]) if part.role != window.role]
        *_, victim = await system.start(*healthy, _victim(window))
        return await _live_through(window, system, victim)


def bystanders(windows: Sequence[Window]) -> Sequence[Part]:
    """One healthy process of each role, for everything that does not die in these windows."""
    queues = [window.name for window in windows if window.role != "worker"]
    roles = ("gateway", "ingest", "watcher")
    return (*(Part(role) for role in roles), Part("worker", queues=queues))


def _victim(window: Window, amqp: str | None = None) -> Part:
    mutant = window.mutant if window.mutant and MUTANTS[window.mutant][0] == window.role else None
    # A heartbeat between the early ack and the crash would write the lease again and hide the bug:
    # with a long lease there is none.
    lease_seconds = 10 * LEASE_SECONDS if mutant and window.role == "worker" else LEASE_SECONDS
    return Part(
        window.role,
        amqp,
        (window.name,),
        crash=window.crash,
        mutant=mutant,
        lease_seconds=lease_seconds,
    )


async def _live_through(window: Window, system: System, victim: Member) -> Outlived:
    inside, ledger, orphans = Inside(system.urls), Ledger(), list[Orphan]()
    try:
        if window.role == "worker":
            await introduce(inside, window.name)
            await look_for_orphans(victim, inside, window.name, orphans)
        await _submit(window, system, victim, ledger)
        await system.until_dead(victim, DEATH_SECONDS)
        async with Reader(system.of("gateway")[0].url) as reader:
            await until_drained(reader, inside, ledger.accepted, window.name, window.patience)
            told = await reader.told(window.name)
        seen = [one for one in system.seen() if one.job_id in (*told, *ledger.asked)]
        left = inside.waiting(window.name)
    finally:
        inside.close()
    history = History(ledger.asked, ledger.accepted, seen, told, left, orphans)
    return Outlived(history, _crashes(system.seen(), window, victim))


async def _submit(window: Window, system: System, victim: Member, ledger: Ledger) -> None:
    wishes = [
        Wish(window.name, seconds=0.01, failures=number % 2, later=window.later)
        for number in range(JOBS)
    ]
    if window.role == "gateway":
        async with HttpClient([victim.url], ledger) as client:
            await client.submit_batch(window.name, wishes)
    else:
        # Past the gateway: to the exchange of the very ingest that is to die.
        async with AmqpClient(victim.part.amqp or system.urls.amqp or "", ledger) as publisher:
            await publisher.submit_array(window.name, wishes)


def _crashes(seen: Sequence[Sighting], window: Window, victim: Member) -> int:
    return sum(one.seen is Seen.CRASHED and one.pid == victim.first_pid for one in seen)
