"""Which page of a list is asked for."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.deps import GatewayDeps
from pipeline.domain.errors import Flaw, Rejected


class PageQuery(BaseModel):
    """Where a list begins and how long it is; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1)] = 50
    cursor: Annotated[str | None, Field(description="`next_cursor` of the last page.")] = None


def limit_of(query: PageQuery, deps: GatewayDeps) -> int:
    """How long a page may be; raises `Rejected` if more is asked for."""
    most = deps.limits.page_jobs
    if query.limit > most:
        raise Rejected("invalid", Flaw("/limit", f"must be {most} at most"))
    return query.limit
