"""One queue's part of a Redis in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Waiting:
    """A member of ready or delayed; ms."""

    due: int
    priority: int


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
    """The keys of one queue. `leased` is job id → deadline in ms."""

    ready: dict[str, Waiting] = field(default_factory=dict)
    delayed: dict[str, Waiting] = field(default_factory=dict)
    leased: dict[str, int] = field(default_factory=dict)
    keys: dict[str, Held] = field(default_factory=dict)
    grants: dict[str, Given] = field(default_factory=dict)
    paused: bool = False
    generation: str | None = None
