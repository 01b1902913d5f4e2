"""What a person sees of one queue's part of a Redis in memory."""

from collections.abc import Sequence
from datetime import timedelta

from pipeline.ports import KeyView, Peeked, QueueView, Room
from pipeline.queue.views import Waiting as WaitingJob
from pipeline.queue.views import in_order, waits_for
from tests.fakes.limit_keys import CLAIMED
from tests.fakes.queue_part import Part

_MS = timedelta(milliseconds=1)


def view_of(name: str, part: Part, now: int) -> QueueView:
    """Counts and the oldest wait."""
    late = [waiting.due for waiting in part.delayed.values() if waiting.due <= now]
    ready = [waiting.due for waiting in part.ready.values()]
    tokens = [int(at) for at in part.limits.verdicts.values() if CLAIMED < at <= now]
    leases, there, again = part.room(now)
    token_in = (again - now) * _MS if leases > 0 and there < 1 else None
    return QueueView(
        name=name,
        delayed=len(part.delayed) - len(late),
        ready=len(part.ready) + len(part.limits.waits) + len(late),
        leased=len(part.leased),
        paused=part.paused,
        oldest_wait=(now - min(ready + late + tokens, default=now)) * _MS,
        limited=len(part.limits.waits),
        limit=part.limit.text,
        room=Room(leases <= 0, token_in),
    )


def peek_at(part: Part, now: int) -> Sequence[Peeked]:
    """All that wait, in order."""
    why = _reasons(part, now)
    found = [
        WaitingJob(job_id, one.priority, one.due, why.get(job_id) if one.due <= now else None)
        for job_id, one in part.waiting.items()
    ]
    return in_order(found, now)


def full_keys_of(part: Part, now: int) -> Sequence[KeyView]:
    """Limit keys that hold jobs back."""
    keys = part.limits
    found = [
        (key, at, keys.line(key)) for at, key in sorted((v, k) for k, v in keys.verdicts.items())
    ]
    return [
        KeyView(key, len(line), _running(part, key), _most(part, line[0]), _room(at, now))
        for key, at, line in found
    ]


def _reasons(part: Part, now: int) -> dict[str, str]:
    """Why limits hold these jobs back."""
    reasons: dict[str, str] = {}
    for key, at in part.limits.verdicts.items():
        room, running = _room(at, now), _running(part, key)
        for job_id in part.limits.line(key) if not room.is_there else []:
            reasons[job_id] = waits_for(key, room, running, _most(part, job_id))
    return reasons


def _most(part: Part, job_id: str) -> int | None:
    limit = part.limits.waits[job_id].limit
    return limit.concurrency if limit else None


def _running(part: Part, key: str) -> int:
    slots = part.limits.slots.items()
    return sum(
        slot.key == key and (slot.place is None or job_id not in part.ready)
        for job_id, slot in slots
    )


def _room(verdict: float, now: int) -> Room:
    ahead = verdict - now
    token_in = int(ahead) * _MS if verdict > CLAIMED and ahead > 0 else None
    return Room(verdict <= CLAIMED, token_in)
