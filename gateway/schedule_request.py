"""What requests about schedules have in common: the id and the body."""

from typing import Any

from fastapi import Request

from gateway.deps import GatewayDeps
from gateway.path_id import canonical
from gateway.request_body import read_json_body
from pipeline import owner
from pipeline.domain.schedule import Schedule


async def body_of(request: Request, deps: GatewayDeps) -> Any:
    """Its JSON value, as large as a job at most; raises `Rejected`, `Refused`."""
    return await read_json_body(request, deps.limits.job_bytes, "a schedule")


def header_of(request: Request, name: str) -> bytes | None:
    """A header as it came; None if it is not there."""
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    return headers.get(name.encode())


def id_of(schedule_id: str) -> str:
    """The id in a path; raises `NotFound` for what is none."""
    return canonical(schedule_id, "schedule")


async def find_schedule(schedule_id: str, deps: GatewayDeps) -> Schedule:
    """The schedule of a path; raises `NotFound`."""
    return await owner.existing(id_of(schedule_id), deps.schedules)
