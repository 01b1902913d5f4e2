"""What attempts tell while they run: progress, and the last lines of what they write.

Kept in memory until the attempt ends; its record then has the final state. Whoever shows it to the
world meanwhile (`workers.telling`) asks for what has changed. An attempt that tells nothing has no
note. May be written by any thread.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pipeline.domain.job import Job
from pipeline.domain.text import storable
from pipeline.ports import LiveNote, Progress

LIVE_BYTES = 16 * 1024
_LINE_CHARS = 4000
_NOTE_CHARS = 500

Clean = Callable[[bytes, int], bytes]
"""Takes secrets out of the tail of a log; how many bytes came before that."""


def _as_it_is(log: bytes, _before: int) -> bytes:
    return log


class Note:
    """What one attempt has told so far."""

    def __init__(self, job: Job, on_change: Callable[["Note"], None], clean: Clean) -> None:
        self.job_id, self.attempt = job.id, job.attempt
        self._progress: Progress | None = None
        self._log = bytearray()
        self._before = 0
        self._on_change = on_change
        self._clean = clean
        self._lock = threading.Lock()
        self.is_closed = False

    def close(self) -> None:
        """Whatever is told from now on is told to nobody: its attempt has ended."""
        self.is_closed = True

    def progress(self, fraction: float, note: str | None = None) -> None:
        """So much is done, from 0 to 1."""
        text = None if note is None else note_text(note)
        if not self.is_closed:
            self._progress = Progress(float(fraction), text)
            self._on_change(self)

    def line(self, text: str) -> None:
        """One more line of its log."""
        self.write(line_text(text).encode() + b"\n")

    def write(self, data: bytes) -> None:
        """More output; only its tail is kept."""
        if self.is_closed:
            return
        with self._lock:
            self._log += data
            too_many = max(0, len(self._log) - LIVE_BYTES)
            del self._log[:too_many]
            self._before += too_many
        self._on_change(self)

    @property
    def live(self) -> LiveNote:
        """As it is now."""
        with self._lock:
            log, before = bytes(self._log), self._before
        text = self._clean(log, before).decode(errors="replace")
        return LiveNote(self._progress, storable(text))

    def report(self) -> dict[str, object]:
        """What its record shall say of it; nothing if nothing was told."""
        return self.live.report()


class Notes:
    """The notes of all attempts that run here."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, int], Note] = {}
        self._changed: dict[tuple[str, int], Note] = {}
        self._lock = threading.Lock()
        self.on_news: Callable[[], None] = lambda: None
        """Called, by any thread, when there is something to tell and there was nothing before."""

    @contextmanager
    def of(self, job: Job, clean: Clean = _as_it_is) -> Iterator[Note]:
        """The note of this attempt, while its code runs."""
        note = Note(job, self._note_changed, clean)
        try:
            yield note
        finally:
            note.close()
            with self._lock:
                self._told.pop((job.id, job.attempt), None)
                self._changed.pop((job.id, job.attempt), None)

    def take_changed(self) -> Sequence[Note]:
        """Those that have changed since they were last taken."""
        with self._lock:
            changed, self._changed = self._changed, {}
        return list(changed.values())

    def told(self) -> Sequence[Note]:
        """Those of running attempts that ever told something."""
        with self._lock:
            return list(self._told.values())

    def _note_changed(self, note: Note) -> None:
        name = (note.job_id, note.attempt)
        with self._lock:
            if note.is_closed:  # by the loop, while a thread was in here
                return
            is_news = not self._changed
            self._told[name] = self._changed[name] = note
        if is_news:
            self.on_news()


def note_text(note: object) -> str:
    """As much of it as is kept, as it is kept."""
    return storable(str(note)[:_NOTE_CHARS])


def line_text(line: object) -> str:
    """The same of a line of the log."""
    return storable(str(line)[:_LINE_CHARS])
