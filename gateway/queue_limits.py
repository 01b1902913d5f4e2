"""The limit of a queue, and what waits for limits: read from requests, written into answers."""

from typing import Any

from pydantic import ValidationError

from pipeline.domain.body import flaws_of
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.limits import Limit, next_token, reached
from pipeline.domain.merge_patch import merged
from pipeline.ports import KeyView, QueueView, Room

KEYS_SHOWN = 50


def changed(limit: Limit, patch: Any) -> Limit:
    """The limit after a JSON Merge Patch; raises `Rejected`."""
    if not isinstance(patch, dict):
        raise Rejected("invalid", Flaw("", "a change is a JSON object (RFC 7396)"))
    body = merged(limit.model_dump(exclude_none=True), patch)
    try:
        return Limit.model_validate(body)
    except ValidationError as error:
        raise Rejected("invalid", *flaws_of(error, body)) from None


def render_limit(limit: Limit, view: QueueView) -> dict[str, Any]:
    """`{concurrency, rate, waits_for}`: why nothing more is leased at the moment, or null."""
    return {
        "concurrency": limit.concurrency,
        "rate": None if limit.rate is None else limit.rate.model_dump(exclude_none=True),
        "waits_for": _waits_for(view.room, view.leased, limit.concurrency),
    }


def render_key(view: KeyView) -> dict[str, Any]:
    """A limit key that holds jobs back, and why."""
    return {
        "key": view.key,
        "waiting": view.waiting,
        "running": view.running,
        "waits_for": _waits_for(view.room, view.running, view.concurrency),
    }


def _waits_for(room: Room, running: int, most: int | None) -> str | None:
    if room.is_full:
        return reached(running, most)
    if room.token_in is None:
        return None
    return f"rate: {next_token(room.token_in)}"
