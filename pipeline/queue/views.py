"""What a person sees of a queue. Reads only."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeline.domain.instants import from_ms
from pipeline.domain.limits import next_token, reached
from pipeline.domain.priority import DEFAULT, read_score, ready_score
from pipeline.ports import KeyView, Peeked, QueueView, Room
from pipeline.queue import scripts
from pipeline.queue.batches import BATCH, MS, parts
from pipeline.queue.connect import Lines, Reply, Word, pairs
from pipeline.queue.keys import keys_of
from pipeline.queue.scripts import Instant

_CLAIMED = 3


class QueueViews:
    """Counts and order. A due job that no worker has fetched from `delayed` yet counts as ready."""

    def __init__(self, lines: Lines, instant: Instant) -> None:
        self._lines = lines
        self._instant = instant

    async def view(self, queue: str) -> QueueView:
        """Counts and the oldest wait."""
        (view,) = await self.views([queue])
        return view

    async def views(self, queues: Sequence[str]) -> Sequence[QueueView]:
        """Of each, in order; Redis serves others in between."""
        found: list[QueueView] = []
        for part in parts(queues):
            calls = [(keys_of(queue).seen, [self._instant()]) for queue in part]
            replies = await self._lines.run_all(scripts.VIEW, calls)
            found += [_view(queue, reply) for queue, reply in zip(part, replies, strict=True)]
        return found

    async def full_keys(self, queue: str, limit: int) -> Sequence[KeyView]:
        """Limit keys that hold jobs back, at most 1,000."""
        words: list[Word] = [self._instant(), min(limit, BATCH)]
        now, *found = await self._lines.run(scripts.KEYS, keys_of(queue).all, words)
        return [_key_view(now, *fields) for fields in found]

    async def peek(self, queue: str, limit: int) -> Sequence[Peeked]:
        """The next jobs in the order in which they would be leased, at most 1,000.

        What a limit key holds back stands behind what may run; of one key at most 100.
        """
        now, ready, delayed, odd, keys = await self._lines.run(
            scripts.PEEK, keys_of(queue).all, [self._instant(), min(limit, BATCH)]
        )
        waiting = [Waiting(job_id, *read_score(float(score))) for job_id, score in pairs(ready)]
        for (job_id, due), word in zip(pairs(delayed), odd, strict=True):
            priority, _, _ = (word or str(DEFAULT)).partition(" ")
            waiting.append(Waiting(job_id, int(priority), int(due)))
        for key, state, running, jobs in keys:
            waiting += _of_key(key, float(state), running, jobs, now)
        return in_order(waiting, now)[:limit]


class Waiting(NamedTuple):
    """A job as a peek finds it; `waits_for` is why its limit key does not let it run."""

    job_id: str
    priority: int
    due: int
    waits_for: str | None = None


def _view(queue: str, reply: Reply) -> QueueView:
    now, delayed, ready, leased, paused, oldest, limit, again, limited = reply
    wait = (now - oldest) * MS
    room = Room(again < 0, (again - now) * MS if again > 0 else None)
    return QueueView(queue, delayed, ready, leased, bool(paused), wait, limited, limit, room)


def _key_view(now: int, key: str, state: str, first: str, waiting: int, running: int) -> KeyView:
    return KeyView(key, waiting, running, _most(first), _room(float(state), now))


def _of_key(
    key: str, state: float, running: int, jobs: Sequence[str], now: int
) -> Iterator[Waiting]:
    """The jobs in line for a key, and why."""
    room = _room(state, now)
    for member in jobs:
        _, score, job_id, _ = member.split(" ", 3)
        why = None if room.is_there else waits_for(key, room, running, _most(member))
        yield Waiting(job_id, *read_score(float(score)), why)


def waits_for(key: str, room: Room, running: int, most: int | None) -> str:
    """What a person is told of a job that its limit key holds back."""
    if room.token_in is not None:
        return f"key {key}: {next_token(room.token_in)}"
    return f"key {key}: {reached(running, most)}"


def _room(state: float, now: int) -> Room:
    """2: when a slot is free; 3: when another has started; else the instant of the next token
    (lua/judge.lua)."""
    if state <= _CLAIMED:
        return Room(is_full=True)
    return Room(token_in=(int(state) - now) * MS) if state > now else Room()


def _most(member: str) -> int | None:
    """The concurrency in `<key> <score> <job id> <limit>`; None if that is not limited."""
    return int(member.split(" ")[3]) or None


def in_order(waiting: Sequence[Waiting], now: int) -> Sequence[Peeked]:
    """As they would be leased: what is due by score, what limits hold back, the rest by time."""

    def rank(job: Waiting) -> tuple[bool, bool, int, str]:
        score = ready_score(job.priority, job.due) if job.due <= now else job.due
        return job.due > now, job.waits_for is not None, score, job.job_id

    return [
        Peeked(job.job_id, job.priority, from_ms(job.due), job.due <= now, job.waits_for)
        for job in sorted(waiting, key=rank)
    ]
