"""Where a list goes on: (created_at, id) of the last job seen, as one opaque word."""

import base64
import binascii

from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.instants import from_ms, to_ms
from pipeline.ports import Position


def write_cursor(after: Position | None) -> str | None:
    """The `next_cursor` of a page."""
    if after is None:
        return None
    created_at, job_id = after
    return base64.urlsafe_b64encode(f"{to_ms(created_at)}/{job_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> Position | None:
    """Raises `Rejected` for a word that we did not write."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        ms, slash, job_id = base64.urlsafe_b64decode(padded).decode("ascii").partition("/")
        if not slash or not job_id:
            raise ValueError(cursor)
        return from_ms(int(ms)), job_id
    except (ValueError, OverflowError, binascii.Error):
        raise Rejected("invalid", Flaw("/cursor", "is not a cursor of this list")) from None
