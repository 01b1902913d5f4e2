"""Parameters of a list are said once: of two the first would be dropped, and never missed."""

from collections import Counter

from fastapi import Depends, Request

from pipeline.domain.errors import Flaw, Rejected

_MAY_REPEAT = frozenset({"status"})


async def _said_once(request: Request) -> None:
    times = Counter(name for name, _ in request.query_params.multi_items())
    flaws = [
        Flaw(f"/{name}", f"is said {number} times; once is what it takes")
        for name, number in times.items()
        if number > 1 and name not in _MAY_REPEAT
    ]
    if flaws:
        raise Rejected("invalid", *flaws)


SAID_ONCE = [Depends(_said_once)]
"""For `dependencies` of a route."""
