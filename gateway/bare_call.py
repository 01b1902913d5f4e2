"""Calls that take nothing: what is sent with one all the same was meant, and is refused by name.

An empty body and `{}` are nothing.
"""

from typing import Any

from fastapi import Depends, Request

from gateway.deps import Deps
from gateway.request_body import read_body
from pipeline.domain.body import escaped, read_json
from pipeline.domain.errors import Flaw, Rejected


async def _takes_nothing(deps: Deps, request: Request) -> None:
    flaws = [Flaw(f"/{name}", "is not a parameter of this route") for name in request.query_params]
    data = await read_body(request, deps.limits.job_bytes, "such a call")
    flaws += _fields(read_json(data)) if data.strip() else []
    if flaws:
        raise Rejected("invalid", *flaws)


def _fields(body: Any) -> list[Flaw]:
    if not isinstance(body, dict):
        return [Flaw("", "this call takes no body, or an empty object")]
    return [Flaw(f"/{escaped(name)}", "is not a field: this call takes none") for name in body]


TAKES_NOTHING = [Depends(_takes_nothing)]
"""For `dependencies` of a route."""
