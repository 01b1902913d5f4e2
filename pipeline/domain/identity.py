"""Who a job is: its id is fixed before it is stored, and used once (R2).

A random id is a UUIDv7 (sorts by time). Everything that may be said twice has a derived id
(UUIDv5), so that saying it twice names the same job: an idempotency key, an element of an array
under one key, a schedule's fire time.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

_NAMESPACE = UUID("9f0c1f4e-6f0b-5c39-9a3e-64756571ffff")


def id_of_key(key: str) -> str:
    """The id of the job submitted under an idempotency key."""
    return str(uuid5(_NAMESPACE, f"key/{key}"))


def id_of_element(key: str, index: int) -> str:
    """The id of element `index` of an array submitted under one key."""
    return id_of_key(f"{key}/{index}")


def id_of_schedule(key: str) -> str:
    """The id of the schedule created under an idempotency key."""
    return id_of_key(f"schedule/{key}")


def id_of_fire(schedule_id: str, fire_time: datetime) -> str:
    """The id of the job that a schedule's fire time makes."""
    return str(uuid5(_NAMESPACE, f"fire/{schedule_id}/{fire_time.astimezone(UTC).isoformat()}"))


def born_at(job_id: str) -> datetime | None:
    """When a UUIDv7 was made (its maker's clock); None for any other id."""
    try:
        parsed = UUID(job_id)
    except ValueError:
        return None
    if parsed.version != 7:
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=parsed.int >> 80)
    except OverflowError:  # its 48 bits reach beyond the year 9999
        return None


def fingerprint(body: dict[str, Any]) -> str:
    """The same for two bodies that ask for the same, whatever the order of their fields.

    The idempotency key itself does not count: it may come in a header or in the body.
    """
    asked = {name: value for name, value in body.items() if name != "idempotency_key"}
    return hashlib.sha256(
        json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
