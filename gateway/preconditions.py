"""`If-Match`: a change is made only to what its maker has seen (RFC 9110, 13.1.1).

The tag of a job is made from all that it answers with, so every move of it makes another. The tag
of a schedule is its version: what its owners changed, not its fires. It says nothing about
`next_fire_at`, so it is no tag to cache by, and `If-None-Match` is not answered.
"""

import re

from starlette.requests import Request

_TAG = re.compile(r'(W/)?"([^"]*)"')
_VERSION = re.compile(r'"[0-9]{1,18}"')


def etag_of(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def versions_of(request: Request) -> frozenset[int] | None:
    """The versions that `If-Match` names; None if any will do. A weak tag never matches."""
    tags = tags_of(request)
    if tags is None:
        return None
    return frozenset(int(tag[1:-1]) for tag in tags if _VERSION.fullmatch(tag))


def tags_of(request: Request) -> frozenset[str] | None:
    """The strong tags that `If-Match` names, with their quotes; None if any will do."""
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    return frozenset(f'"{text}"' for weak, text in _TAG.findall(header) if not weak)
