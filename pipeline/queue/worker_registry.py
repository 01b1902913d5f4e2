"""Which workers are alive, how they are nudged, and how they died."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from pydantic_core import from_json, to_json

from pipeline.domain.instants import from_ms
from pipeline.ports import Death, WorkerView
from pipeline.queue.announced import Announced, Fields
from pipeline.queue.connect import Lines
from pipeline.queue.keys import DEATH, NUDGE, WORKER, WORKERS

_DAY = 86_400


class WorkerRegistry:
    """What workers say of themselves."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._announced = Announced(lines, WORKERS, WORKER)

    async def announce(self, view: WorkerView, ttl: timedelta) -> None:
        """Write it down; it vanishes `ttl` after the last call."""
        await self._announced.announce(view.id, _fields_of(view), ttl)

    async def heard(self, worker: str, ttl: timedelta) -> WorkerView | None:
        """It is alive, for `ttl` from now; None if it is not known (any more)."""
        fields = await self._announced.heard(worker, ttl)
        return _view_of(worker, fields) if fields else None

    async def find(self, worker: str) -> WorkerView | None:
        """What it says, if it is alive."""
        fields = await self._announced.find(worker)
        return _view_of(worker, fields) if fields else None

    async def nudge(self, worker: str) -> None:
        """Leave it a token; one is enough, and nobody may be there to take it."""
        key = NUDGE.of(worker)
        await self._lines.ask_all(("LPUSH", key, "1"), ("LTRIM", key, 0, 0), ("EXPIRE", key, 60))

    async def retract(self, worker: str) -> None:
        """Forget it at once."""
        await self._announced.retract(worker)

    async def report(self, death: Death) -> bool:
        """Write down how it ended, under the id that it had announced; it goes after a day."""
        ours = [
            view.id
            for view in await self.list()
            if (view.host, view.pid) == (death.host, death.pid)
        ]
        for worker in ours:
            text = to_json(asdict(death)).decode()
            await self._lines.ask("SET", DEATH.of(worker), text, "EX", _DAY)
            await self.retract(worker)
        return bool(ours)

    async def deaths(self, workers: Sequence[str]) -> Mapping[str, Death]:
        """How those of these workers ended of which it is known."""
        if not workers:
            return {}
        found = await self._lines.ask_all(*(("GET", DEATH.of(worker)) for worker in workers))
        known = zip(workers, found, strict=True)
        return {worker: Death(**from_json(text)) for worker, text in known if text}

    async def list(self) -> Sequence[WorkerView]:
        """Who is alive, by id."""
        return [_view_of(worker, fields) for worker, fields in await self._announced.list()]


def _fields_of(view: WorkerView) -> Fields:
    return dict(view.extra) | {
        "host": view.host,
        "pid": str(view.pid),
        "queues": ",".join(view.queues),
        "concurrency": str(view.concurrency),
        "running": str(view.running),
        "started_at": view.started_at.isoformat(),
    }


def _view_of(worker: str, fields: Fields) -> WorkerView:
    return WorkerView(
        id=worker,
        host=fields.pop("host"),
        pid=int(fields.pop("pid")),
        queues=fields.pop("queues").split(","),
        concurrency=int(fields.pop("concurrency")),
        running=int(fields.pop("running")),
        started_at=datetime.fromisoformat(fields.pop("started_at")),
        last_seen_at=from_ms(int(fields.pop("seen_ms"))),
        extra=fields,
    )
