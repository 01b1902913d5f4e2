"""Who is alive, of one sort: one hash each, which expires with its silence.

The set of ids is only an index, so that nobody walks over the whole of Redis; an id whose hash is
gone is removed by whoever notices. Who comes back in that moment is in it again with its next
announcement.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pipeline.queue import scripts
from pipeline.queue.batches import MS
from pipeline.queue.connect import Lines, Reply, pairs
from pipeline.queue.keys import Key

Fields = dict[str, str]


class Announced:
    """What they say of themselves, field by field; `seen_ms` is when, by Redis's clock."""

    def __init__(self, lines: Lines, ids: Key, hashes: Key) -> None:
        self._lines = lines
        self._ids, self._hashes = ids.pattern, hashes

    async def announce(self, id: str, fields: Mapping[str, str], ttl: timedelta) -> None:
        """Write it down; it vanishes `ttl` after the last call."""
        await self._lines.ask("SADD", self._ids, id)
        words = [word for pair in fields.items() for word in pair]
        await self._lines.run(scripts.ANNOUNCE, [self._hashes.of(id)], ["", ttl // MS, *words])

    async def heard(self, id: str, ttl: timedelta) -> Fields:
        """It is alive, for `ttl` from now; what it says, nothing if it is not known (any more)."""
        reply = await self._lines.run(scripts.HEARD, [self._hashes.of(id)], ["", ttl // MS])
        if reply:
            await self._lines.ask("SADD", self._ids, id)
        return _fields(reply)

    async def find(self, id: str) -> Fields:
        """What it says, nothing if it is not alive."""
        return _fields(await self._lines.ask("HGETALL", self._hashes.of(id)))

    async def retract(self, id: str) -> None:
        """Forget it at once."""
        await self._lines.ask_all(("DEL", self._hashes.of(id)), ("SREM", self._ids, id))

    async def list(self) -> Sequence[tuple[str, Fields]]:
        """Who is alive, by id, and what each says."""
        ids = sorted(await self._lines.ask("SMEMBERS", self._ids))
        if not ids:
            return []
        hashes = await self._lines.ask_all(*(("HGETALL", self._hashes.of(id)) for id in ids))
        gone = [id for id, reply in zip(ids, hashes, strict=True) if not reply]
        if gone:
            await self._lines.ask("SREM", self._ids, *gone)
        return [(id, _fields(reply)) for id, reply in zip(ids, hashes, strict=True) if reply]


def _fields(reply: Reply) -> Fields:
    return dict(pairs(reply))
