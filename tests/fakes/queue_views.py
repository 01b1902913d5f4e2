"""What a person sees of one queue's part of a Redis in memory."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from pipeline.ports import KeyView, Peeked, QueueView, Room
from pipeline.queue.views import Waiting as WaitingJob
from pipeline.queue.views import in_order, waits_for
from tests.fakes.limit_keys import FULL
from tests.fakes.queue_part import Part, rank

_MS = timedelta(milliseconds=1)


def view_of(name: str, part: Part, now: int) -> QueueView:
    """Counts and the oldest wait."""
    late = [waiting.due for waiting in part.delayed.values() if waiting.due <= now]
    startable = [waiting.due for waiting in part.next_ones]
    tokens = [int(at) for at in part.keys_of_limits.verdicts.values() if FULL < at <= now]
    leases, there, again = part.room(now)
    token_in = (again - now) * _MS if leases > 0 and there < 1 else None
    return QueueView(
        name=name,
        delayed=len(part.delayed) - len(late),
        ready=len(part.ready) + len(late),
        leased=len(part.leased),
        paused=part.paused,
        oldest_wait=(now - min(startable + late + tokens, default=now)) * _MS,
        limited=sum(waiting.limit is not None for waiting in part.ready.values()),
        limit=part.limit.text,
        room=Room(leases <= 0, token_in),
    )


def peek_at(part: Part, now: int) -> Sequence[Peeked]:
    """All that wait, in order."""
    why = _reasons(part, now)
    found = [
        WaitingJob(job_id, one.priority, one.due, why.get(job_id) if one.due <= now else None)
        for job_id, one in (part.delayed | part.ready).items()
    ]
    return in_order(found, now)


def full_keys_of(part: Part, now: int) -> Sequence[KeyView]:
    """Limit keys that hold jobs back."""
    keys = part.keys_of_limits
    waiting = Counter(one.limit.key for one in part.ready.values() if one.limit)
    full = sorted((at, key) for key, at in keys.verdicts.items() if at >= FULL)
    firsts = part.firsts(key for _, key in full)
    return [
        KeyView(key, waiting[key], keys.running.get(key, 0), first.concurrency, _room(at, now))
        for at, key in full
        if (first := firsts[key]) is not None
    ]


def _reasons(part: Part, now: int) -> dict[str, str]:
    """Why limits hold these jobs back."""
    keys, reasons = part.keys_of_limits, dict[str, str]()
    numbers = Counter(keys.running)
    for job_id in sorted(part.ready, key=lambda job_id: rank(job_id, part.ready[job_id])):
        limit = part.ready[job_id].limit
        if limit is None:
            continue
        room = _room(keys.verdicts[limit.key], now)
        if room.is_there and limit.concurrency is not None:
            room = Room(is_full=numbers[limit.key] >= limit.concurrency)
        numbers[limit.key] += 1
        if not room.is_there:
            running = keys.running.get(limit.key, 0)
            reasons[job_id] = waits_for(limit.key, room, running, limit.concurrency)
    return reasons


def _room(verdict: float, now: int) -> Room:
    ahead = verdict - now
    token_in = int(ahead) * _MS if verdict > FULL and ahead > 0 else None
    return Room(verdict == FULL, token_in)
