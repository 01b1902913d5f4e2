"""Ids of jobs and the like, however somebody spells them."""

from uuid import UUID

from pipeline.domain.errors import NotFound


def canonical(text: str, what: str) -> str:
    """The id of a `what` as we write it; raises `NotFound` for what is none."""
    try:
        return str(UUID(text))
    except ValueError:
        raise NotFound(f"there is no such {what}: an id is a UUID") from None
