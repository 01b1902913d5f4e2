"""One queue's part of a Redis in memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.domain.limits import NO_LIMIT, KeyLimit, Limit
from pipeline.domain.priority import ready_score
from tests.fakes.limit_keys import FULL, MAY_RUN, LimitKeys


@dataclass(frozen=True)
class Waiting:
    """A member of ready or delayed; ms."""

    due: int
    priority: int
    limit: KeyLimit | None = None


@dataclass(frozen=True)
class Held:
    """A lease key: `<worker> <lease id>`, and when it expires (ms)."""

    owner: str
    until: int


@dataclass(frozen=True)
class Given:
    """What a worker's last lease call gave, and when that is forgotten (ms)."""

    lease_id: str
    job_ids: Sequence[str]
    until: int


@dataclass
class Part:
    """The keys of one queue. `leased` is job id → deadline in ms.

    What is due and has a limit is in `ready`, whether its key has room or not.
    """

    ready: dict[str, Waiting] = field(default_factory=dict)
    delayed: dict[str, Waiting] = field(default_factory=dict)
    leased: dict[str, int] = field(default_factory=dict)
    keys: dict[str, Held] = field(default_factory=dict)
    grants: dict[str, Given] = field(default_factory=dict)
    paused: bool = False
    generation: str | None = None
    limit: Limit = NO_LIMIT
    keys_of_limits: LimitKeys = field(default_factory=LimitKeys)

    def firsts(self, keys: Iterable[str]) -> Mapping[str, KeyLimit | None]:
        """The limit of the first due job of each of these keys."""
        found: dict[str, KeyLimit | None] = dict.fromkeys(keys)
        for job_id in sorted(self.ready, key=lambda job_id: rank(job_id, self.ready[job_id])):
            limit = self.ready[job_id].limit
            if limit is not None and limit.key in found and found[limit.key] is None:
                found[limit.key] = limit
        return found

    @property
    def startable(self) -> Mapping[str, Waiting]:
        """Those in ready whose keys, as they were judged, may run."""
        verdicts = self.keys_of_limits.verdicts
        return {
            job_id: waiting
            for job_id, waiting in self.ready.items()
            if waiting.limit is None or verdicts[waiting.limit.key] == MAY_RUN
        }

    @property
    def next_ones(self) -> Sequence[Waiting]:
        """Of those the ones that come next: of each key the first."""
        found: dict[str, Waiting] = {}
        startable = self.startable
        for job_id in sorted(startable, key=lambda job_id: rank(job_id, startable[job_id])):
            waiting = startable[job_id]
            found.setdefault(rank(job_id, waiting)[1], waiting)
        return list(found.values())

    @property
    def soonest(self) -> int | None:
        """When a timer has to ring: a job is due, or a key has a token."""
        dues = [waiting.due for waiting in self.delayed.values()]
        tokens = [int(at) for at in self.keys_of_limits.verdicts.values() if at > FULL]
        return min(dues + tokens, default=None)


def rank(job_id: str, waiting: Waiting) -> tuple[int, str, str]:
    """The order in which jobs are leased; a key's stand where its mark would."""
    mark = job_id if waiting.limit is None else f"={waiting.limit.key}"
    return ready_score(waiting.priority, waiting.due), mark, job_id
