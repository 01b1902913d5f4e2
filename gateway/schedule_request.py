"""What requests about schedules have in common: the id, the body, a page."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from gateway.deps import GatewayDeps
from gateway.guard import is_ndjson
from gateway.problems import Refused
from gateway.request_body import read_body
from pipeline import owner
from pipeline.domain.body import read_json
from pipeline.domain.errors import Flaw, NotFound, Rejected
from pipeline.domain.schedule import Schedule


class PageQuery(BaseModel):
    """Where a list begins and how long it is; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1)] = 50
    cursor: Annotated[str | None, Field(description="`next_cursor` of the last page.")] = None


async def body_of(request: Request, deps: GatewayDeps) -> Any:
    """Its JSON value, as large as a job at most; raises `Rejected`, `Refused`."""
    if is_ndjson(header_of(request, "content-type") or b""):
        raise Refused(415, "a schedule is application/json")
    return read_json(await read_body(request, deps.limits.job_bytes, "a schedule"))


def header_of(request: Request, name: str) -> bytes | None:
    """A header as it came; None if it is not there."""
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    return headers.get(name.encode())


def canonical(schedule_id: str) -> str:
    """The id as we write it; raises `NotFound` for what is none."""
    try:
        return str(UUID(schedule_id))
    except ValueError:
        raise NotFound("there is no such schedule: an id is a UUID") from None


def limit_of(query: PageQuery, deps: GatewayDeps) -> int:
    """How long a page may be; raises `Rejected` if more is asked for."""
    most = deps.limits.page_jobs
    if query.limit > most:
        raise Rejected("invalid", Flaw("/limit", f"must be {most} at most"))
    return query.limit


async def find_schedule(schedule_id: str, deps: GatewayDeps) -> Schedule:
    """The schedule of a path; raises `NotFound`."""
    return await owner.existing(canonical(schedule_id), deps.schedules)
