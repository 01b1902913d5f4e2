"""Which watchers are alive: as `worker_registry`, one hash each, which expires with its silence."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pipeline.domain.instants import from_ms
from pipeline.ports import WatcherView
from pipeline.queue import scripts
from pipeline.queue.connect import Lines, Reply, Word
from pipeline.queue.keys import WATCHER, WATCHERS

_MS = timedelta(milliseconds=1)


class WatcherRegistry:
    """What watchers say of themselves."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def announce(self, view: WatcherView, ttl: timedelta) -> None:
        """Write it down; it vanishes `ttl` after the last call."""
        await self._lines.ask("SADD", WATCHERS.pattern, view.id)
        words: list[Word] = ["host", view.host, "pid", view.pid, "version", view.version]
        words += ["started_at", view.started_at.isoformat()]
        await self._lines.run(scripts.ANNOUNCE, [WATCHER.of(view.id)], ["", ttl // _MS, *words])

    async def retract(self, watcher: str) -> None:
        """Forget it at once."""
        await self._lines.ask_all(("DEL", WATCHER.of(watcher)), ("SREM", WATCHERS.pattern, watcher))

    async def list(self) -> Sequence[WatcherView]:
        """Who is alive, by id."""
        ids = sorted(await self._lines.ask("SMEMBERS", WATCHERS.pattern))
        if not ids:
            return []
        hashes = await self._lines.ask_all(*(("HGETALL", WATCHER.of(each)) for each in ids))
        found = list(zip(ids, hashes, strict=True))
        gone = [watcher for watcher, fields in found if not fields]
        if gone:
            await self._lines.ask("SREM", WATCHERS.pattern, *gone)
        return [_view_of(watcher, fields) for watcher, fields in found if fields]


def _view_of(watcher: str, reply: Reply) -> WatcherView:
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    return WatcherView(
        id=watcher,
        host=fields["host"],
        pid=int(fields["pid"]),
        version=fields["version"],
        started_at=datetime.fromisoformat(fields["started_at"]),
        last_seen_at=from_ms(int(fields["seen_ms"])),
    )
