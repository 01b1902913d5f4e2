"""Live notes on Redis: one string an attempt, which expires. Losing them costs a look."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Self

from pydantic_core import from_json, to_json

from pipeline.ports import LiveNote, Progress
from pipeline.queue.batches import MS
from pipeline.queue.connect import Lines
from pipeline.queue.keys import LIVE

SHOWING, RECORDING = 0.5, 5.0
"""Seconds of patience: whoever shows a job shows it without them rather than late; a record that is
written without them has lost them."""


class RedisLiveNotes:
    """`pipeline.ports.LiveNotes` on Redis. Belongs to the event loop it is used on."""

    def __init__(self, url: str, patience: float = SHOWING) -> None:
        self._lines = Lines(url, patience=patience, most=4)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lines.aclose()

    async def tell(self, notes: Mapping[tuple[str, int], LiveNote], ttl: timedelta) -> None:
        """These are the notes of these attempts for `ttl`."""
        if notes:
            sets = (
                ("SET", _key(name), _written(note), "PX", ttl // MS) for name, note in notes.items()
            )
            await self._lines.ask_all(*sets)

    async def told(self, attempts: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], LiveNote]:
        """What these attempts have told, as far as they have."""
        if not attempts:
            return {}
        found = await self._lines.ask_all(*(("GET", _key(name)) for name in attempts))
        told = zip(attempts, found, strict=True)
        return {name: _read(text) for name, text in told if text}


def _key(attempt: tuple[str, int]) -> str:
    return LIVE.of(f"{attempt[0]}/{attempt[1]}")


def _written(note: LiveNote) -> str:
    progress = note.progress and [note.progress.fraction, note.progress.note]
    return to_json({"progress": progress, "log": note.log}).decode()


def _read(text: str) -> LiveNote:
    fields = from_json(text)
    progress = fields["progress"] and Progress(*fields["progress"])
    return LiveNote(progress, fields["log"])
