"""Which watchers are alive."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pipeline.domain.instants import from_ms
from pipeline.ports import WatcherView
from pipeline.queue.announced import Announced, Fields
from pipeline.queue.connect import Lines
from pipeline.queue.keys import WATCHER, WATCHERS


class WatcherRegistry:
    """What watchers say of themselves."""

    def __init__(self, lines: Lines) -> None:
        self._announced = Announced(lines, WATCHERS, WATCHER)

    async def announce(self, view: WatcherView, ttl: timedelta) -> None:
        """Write it down; it vanishes `ttl` after the last call."""
        await self._announced.announce(view.id, _fields_of(view), ttl)

    async def retract(self, watcher: str) -> None:
        """Forget it at once."""
        await self._announced.retract(watcher)

    async def list(self) -> Sequence[WatcherView]:
        """Who is alive, by id."""
        return [_view_of(watcher, fields) for watcher, fields in await self._announced.list()]


def _fields_of(view: WatcherView) -> Fields:
    return {
        "host": view.host,
        "pid": str(view.pid),
        "version": view.version,
        "started_at": view.started_at.isoformat(),
    }


def _view_of(watcher: str, fields: Fields) -> WatcherView:
    return WatcherView(
        id=watcher,
        host=fields["host"],
        pid=int(fields["pid"]),
        version=fields["version"],
        started_at=datetime.fromisoformat(fields["started_at"]),
        last_seen_at=from_ms(int(fields["seen_ms"])),
    )
