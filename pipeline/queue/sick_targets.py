"""Sick targets on Redis. A hint that may be lost at any moment: it is made again by failures.

A target that nobody asks for is forgotten after `KEEP`. The origins are only an index, so that
nobody walks over the whole of Redis. One whose hash is gone is taken out of it by whoever asks for
it: workers go by the index, and would neither hold its jobs back nor count their failures.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Self

from pipeline.domain.instants import from_ms
from pipeline.ports import Chance, Probe, SickTarget, Wait, Well
from pipeline.queue import scripts
from pipeline.queue.batches import MS
from pipeline.queue.connect import Lines, Reply, Word, pairs
from pipeline.queue.keys import SICK_TARGET, SICK_TARGETS
from pipeline.queue.scripts import Instant, by_redis

FIRST = timedelta(seconds=5)
"""Until the first probe; doubled by each that fails."""
LONGEST = timedelta(minutes=5)
GAP = timedelta(milliseconds=5)
"""Between two held jobs of one target that come back: 200 a second, however many there are."""
GRACE = timedelta(seconds=1)
"""For the probe to answer, before those behind it come."""
FAR = timedelta(hours=1)
"""The longest that a job is held back at once, and the longest that a target may ask for."""
KEEP = timedelta(hours=2)

_HELD = "held:"
_PATIENCE = 2.0


class RedisSickTargets:
    """`pipeline.ports.SickTargets` on Redis. Belongs to the event loop it is used on."""

    def __init__(self, url: str, chance: Chance, instant: Instant = by_redis) -> None:
        self._lines = Lines(url, patience=_PATIENCE, most=8)
        self._chance = chance
        self._instant = instant

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lines.aclose()

    async def trip(
        self, origin: str, *, probe: str | None, at_least: timedelta, error: str
    ) -> bool:
        """Hold its jobs back for a while; whether that is news."""
        spans = [span // MS for span in (FIRST, LONGEST, min(at_least, FAR))]
        words: list[Word] = [self._instant(), origin, *spans, probe or "", error, KEEP // MS]
        return bool(await self._lines.run(scripts.SICK_TRIP, _keys(origin), words) != "known")

    async def ask(
        self, origin: str, queue: str, *, probe: str, within: timedelta
    ) -> Well | Probe | Wait:
        """Whether a job of `queue` may go there."""
        spans = [span // MS for span in (within, GAP, GRACE, FAR)]
        lot = f"{self._chance.lot():.6f}"
        words: list[Word] = [self._instant(), probe, *spans, lot, queue, KEEP // MS, origin]
        reply = await self._lines.run(scripts.SICK_ASK, _keys(origin), words)
        match reply:
            case ["wait", delay, error]:
                return Wait(delay * MS, error)
            case ["probe"]:
                return Probe()
            case _:
                return Well()

    async def give_back(self, origin: str, *, probe: str) -> None:
        """This probe has learnt nothing: the next who asks is one."""
        await self._lines.run(scripts.SICK_GIVE_BACK, [SICK_TARGET.of(origin)], [probe])

    async def close(self, origin: str) -> bool:
        """It has answered; whether that is news."""
        return bool(await self._lines.run(scripts.SICK_CLOSE, _keys(origin), [origin]) == "closed")

    async def origins(self) -> frozenset[str]:
        """Those that are sick, and may be some whose hash Redis has lost."""
        keys = [SICK_TARGETS.pattern]
        return frozenset(await self._lines.run(scripts.SICK_ORIGINS, keys, [self._instant()]))

    async def list(self) -> Sequence[SickTarget]:
        """What is known of them, by origin."""
        origins = sorted(await self.origins())
        if not origins:
            return []
        replies = await self._lines.ask_all(*(("HGETALL", SICK_TARGET.of(o)) for o in origins))
        return [_target(o, reply) for o, reply in zip(origins, replies, strict=True) if reply]


def _keys(origin: str) -> list[str]:
    return [SICK_TARGETS.pattern, SICK_TARGET.of(origin)]


def _target(origin: str, reply: Reply) -> SickTarget:
    fields: Mapping[str, str] = dict(pairs(reply))
    return SickTarget(
        origin=origin,
        since=from_ms(int(fields["since_ms"])),
        probe_at=from_ms(int(fields["until_ms"])),
        failed_probes=int(fields["failed_probes"]),
        error=fields["error"],
        held={
            name.removeprefix(_HELD): int(count)
            for name, count in fields.items()
            if name.startswith(_HELD)
        },
    )
