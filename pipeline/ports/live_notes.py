"""Redis: what a running attempt says of itself, until its record says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of an attempt is done, from 0 to 1, and what it says of that."""

    fraction: float
    note: str | None = None


@dataclass(frozen=True, slots=True)
class LiveNote:
    """What a running attempt has told so far; of its log the tail."""

    progress: Progress | None = None
    log: str = ""

    def report(self) -> dict[str, Any]:
        """What the record of its attempt shall say of it; nothing if nothing was told."""
        told = dict[str, Any]()
        if self.progress is not None:
            told["progress"] = {"fraction": self.progress.fraction, "note": self.progress.note}
        if self.log:
            told["log"] = self.log
        return told


class NothingTold:
    """Live notes that nobody writes."""

    async def tell(self, notes: Mapping[tuple[str, int], LiveNote], ttl: timedelta) -> None:
        """Forget them."""

    async def told(self, attempts: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], LiveNote]:
        """Nothing."""
        return {}


NOTHING_TOLD = NothingTold()


class LiveNotes(Protocol):
    """Redis: what running attempts tell. A hint that may be lost; the record has the last of it.

    Named by job and attempt: a worker that has lost an attempt writes beside its successor.
    """

    async def tell(self, notes: Mapping[tuple[str, int], LiveNote], ttl: timedelta) -> None:
        """These are the notes of these attempts for `ttl`."""
        ...

    async def told(self, attempts: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], LiveNote]:
        """What these attempts have told, as far as they have."""
        ...
