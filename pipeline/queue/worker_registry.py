"""Who is alive: one hash a worker, which expires when the worker falls silent.

The set of ids is only an index, so that nobody walks over the whole of Redis; an id whose hash is
gone is removed by whoever notices. A worker that comes back in that moment is in it again with its
next announcement.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pipeline.ports import WorkerView
from pipeline.queue import scripts
from pipeline.queue.connect import Lines, Reply
from pipeline.queue.keys import WORKER, WORKERS

_MS = timedelta(milliseconds=1)


class WorkerRegistry:
    """What workers say of themselves."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def announce(self, view: WorkerView, ttl: timedelta) -> None:
        """Write it down; it vanishes `ttl` after the last call."""
        await self._lines.ask("SADD", WORKERS.pattern, view.id)
        words = [word for pair in _fields_of(view).items() for word in pair]
        await self._lines.run(scripts.ANNOUNCE, [WORKER.of(view.id)], [ttl // _MS, *words])

    async def retract(self, worker: str) -> None:
        """Forget it at once."""
        await self._lines.ask_all(("DEL", WORKER.of(worker)), ("SREM", WORKERS.pattern, worker))

    async def list(self) -> Sequence[WorkerView]:
        """Who is alive, by id."""
        ids = sorted(await self._lines.ask("SMEMBERS", WORKERS.pattern))
        if not ids:
            return []
        hashes = await self._lines.ask_all(*(("HGETALL", WORKER.of(worker)) for worker in ids))
        gone = [worker for worker, fields in zip(ids, hashes, strict=True) if not fields]
        if gone:
            await self._lines.ask("SREM", WORKERS.pattern, *gone)
        return [
            _view_of(worker, fields) for worker, fields in zip(ids, hashes, strict=True) if fields
        ]


def _fields_of(view: WorkerView) -> dict[str, str]:
    return dict(view.extra) | {
        "host": view.host,
        "pid": str(view.pid),
        "queues": ",".join(view.queues),
        "concurrency": str(view.concurrency),
        "running": str(view.running),
        "started_at": view.started_at.isoformat(),
    }


def _view_of(worker: str, reply: Reply) -> WorkerView:
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    return WorkerView(
        id=worker,
        host=fields.pop("host"),
        pid=int(fields.pop("pid")),
        queues=fields.pop("queues").split(","),
        concurrency=int(fields.pop("concurrency")),
        running=int(fields.pop("running")),
        started_at=datetime.fromisoformat(fields.pop("started_at")),
        extra=fields,
    )
