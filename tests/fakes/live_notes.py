"""Live notes in memory; `tests/adapters/test_live_notes.py` runs one suite on it and on Redis.

Nothing expires here.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pipeline.ports import LiveNote
from tests.fakes.faults import Faulty, may_fail


class FakeLiveNotes(Faulty):
    """`pipeline.ports.LiveNotes` in memory."""

    def __init__(self) -> None:
        super().__init__("Redis")
        self.notes: dict[tuple[str, int], LiveNote] = {}
        self.calls = 0
        self.ttl = timedelta()

    @may_fail
    async def tell(self, notes: Mapping[tuple[str, int], LiveNote], ttl: timedelta) -> None:
        """Keep them."""
        self.calls += 1
        self.notes |= notes
        self.ttl = ttl

    @may_fail
    async def told(self, attempts: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], LiveNote]:
        """Those that are kept."""
        return {name: self.notes[name] for name in attempts if name in self.notes}
