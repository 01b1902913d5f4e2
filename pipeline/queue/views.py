"""What a person sees of a queue. Reads only."""

from collections.abc import Callable, Sequence

from pipeline.domain.instants import from_ms
from pipeline.domain.priority import DEFAULT, read_score, ready_score
from pipeline.ports import Peeked, QueueView
from pipeline.queue import scripts
from pipeline.queue.batches import BATCH, MS
from pipeline.queue.connect import Lines
from pipeline.queue.keys import keys_of


class QueueViews:
    """Counts and order. A due job that no worker has fetched from `delayed` yet counts as ready."""

    def __init__(self, lines: Lines, instant: Callable[[], str]) -> None:
        self._lines = lines
        self._instant = instant

    async def view(self, queue: str) -> QueueView:
        """Counts and the oldest wait."""
        keys = keys_of(queue)
        now, delayed, ready, leased, paused, oldest = await self._lines.run(
            scripts.VIEW, [keys.ready, keys.delayed, keys.leased, keys.paused], [self._instant()]
        )
        return QueueView(queue, delayed, ready, leased, bool(paused), (now - oldest) * MS)

    async def peek(self, queue: str, limit: int) -> Sequence[Peeked]:
        """The next jobs in the order in which they would be leased, at most 1,000."""
        now, ready, delayed, odd = await self._lines.run(
            scripts.PEEK, keys_of(queue).waiting[:3], [self._instant(), min(limit, BATCH)]
        )
        waiting = [(job_id, *read_score(float(score))) for job_id, score in _pairs(ready)]
        for (job_id, due), priority in zip(_pairs(delayed), odd, strict=True):
            waiting.append((job_id, int(priority or DEFAULT), int(due)))
        return in_order(waiting, now)[:limit]


def in_order(waiting: Sequence[tuple[str, int, int]], now: int) -> Sequence[Peeked]:
    """(job id, priority, due ms) as they would be leased: what is due by score, then by time."""

    def rank(job: tuple[str, int, int]) -> tuple[bool, int, str]:
        job_id, priority, due = job
        return due > now, ready_score(priority, due) if due <= now else due, job_id

    return [
        Peeked(job_id, priority, from_ms(due), due <= now)
        for job_id, priority, due in sorted(waiting, key=rank)
    ]


def _pairs(reply: Sequence[str]) -> Sequence[tuple[str, str]]:
    return list(zip(reply[::2], reply[1::2], strict=True))
