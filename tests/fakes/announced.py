"""Who is alive, of one sort, in memory: forgotten when it falls silent."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from pipeline.ports import Clock, WatcherView, WorkerView

View = TypeVar("View", WorkerView, WatcherView)


class Announced(Generic[View]):
    """What they say of themselves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[str, tuple[View, datetime]] = {}

    def announce(self, view: View, ttl: timedelta) -> None:
        """It says so now, and is forgotten `ttl` later."""
        now = self._clock.now()
        self._said[view.id] = (dataclasses.replace(view, last_seen_at=now), now + ttl)

    def replace(self, id: str, **fields: Any) -> None:
        """Write down something else of it, if it is known; not that it was heard."""
        if id in self._said:
            view, until = self._said[id]
            self._said[id] = (dataclasses.replace(view, **fields), until)

    def retract(self, id: str) -> None:
        """Forget it."""
        self._said.pop(id, None)

    def clear(self) -> None:
        """Forget all."""
        self._said.clear()

    def list(self) -> Sequence[View]:
        """Who is alive, by id."""
        now = self._clock.now()
        return [view for _, (view, until) in sorted(self._said.items()) if until > now]
