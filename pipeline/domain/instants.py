"""Instants at the precision of the stores: whole milliseconds, UTC.

MongoDB and Redis keep milliseconds. A due time to come is therefore rounded **up**: cut off, it
would be up to a millisecond early, and no job ever starts early. Only "now", which has passed
already when somebody reads it, is rounded down: rounded up, it would not have come yet.
"""

from datetime import UTC, datetime, timedelta

_MS = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def whole_ms_up(instant: datetime) -> datetime:
    """`instant` or the first whole millisecond after it."""
    spare = instant.microsecond % 1000
    return instant if spare == 0 else instant + timedelta(microseconds=1000 - spare)


def whole_ms_down(instant: datetime) -> datetime:
    """`instant` or the last whole millisecond before it."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def rfc3339(instant: datetime) -> str:
    """As it is told to people and programs: UTC, whole milliseconds, `Z`."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_ms(instant: datetime) -> int:
    """Unix milliseconds, rounded down."""
    return (instant - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """The instant of Unix milliseconds."""
    return _EPOCH + ms * _MS


def from_us(us: int) -> datetime:
    """The instant of Unix microseconds."""
    return _EPOCH + timedelta(microseconds=us)
