"""The attempts of a job: their records, and what they wrote."""

import re
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import PlainTextResponse, Response

from gateway.deps import Deps
from gateway.found_job import find_job, find_record, running_attempt, told
from gateway.page_query import PageQuery, limit_of
from gateway.rendering import json_response, render_execution
from gateway.said_once import SAID_ONCE
from pipeline.domain.errors import Flaw, NotFound, Rejected
from pipeline.domain.execution import Execution
from pipeline.domain.job import Job

router = APIRouter(tags=["jobs"])
_NUMBER = re.compile(r"[0-9]{1,18}")
_NO_PAGE = {"X-Content-Type-Options": "nosniff"}
"""What somebody else has answered is text, to browsers too."""
AttemptNumber = Annotated[int, Path(ge=0, lt=2**63)]


class AttemptsQuery(PageQuery):
    """A page of attempts; few jobs have more than one."""

    limit: Annotated[int, Field(ge=1)] = 500


@router.get(
    "/jobs/{job_id}/executions",
    summary="Its attempts",
    response_class=Response,
    dependencies=SAID_ONCE,
)
async def list_executions(
    job_id: str, deps: Deps, query: Annotated[AttemptsQuery, Query()]
) -> Response:
    """Oldest first. They are numbered from 1, so the cursor is the last number seen."""
    limit = limit_of(query, deps)
    after = _read_number(query.cursor)
    job = await find_job(job_id, deps)
    limit = max(0, min(limit, job.attempt - after))
    attempts = await deps.store.executions(job.id, after, limit)
    items = [render_execution(attempt) for attempt in attempts]
    last = after + limit
    more = last < job.attempt
    return json_response({"items": items, "next_cursor": str(last) if more else None})


@router.get("/jobs/{job_id}/executions/{attempt}", summary="One", response_class=Response)
async def show_execution(job_id: str, attempt: AttemptNumber, deps: Deps) -> Response:
    """One attempt that has ended."""
    job = await find_job(job_id, deps)
    record = await find_record(job.id, attempt, deps)
    if record is None:
        raise _no_record(job, attempt)
    return json_response(render_execution(record))


@router.get(
    "/jobs/{job_id}/executions/{attempt}/log",
    summary="Its captured output",
    response_class=PlainTextResponse,
)
async def show_log(job_id: str, attempt: AttemptNumber, deps: Deps) -> Response:
    """What the attempt wrote: stdout, then stderr; or its log, or what an http job was answered,
    then the story of its error.

    Of one that runs, the last of what it has written by now, half a second old at most.
    """
    job = await find_job(job_id, deps)
    record = await find_record(job.id, attempt, deps)
    if record is not None and (text := _log_of(record)):
        return PlainTextResponse(text, headers=_NO_PAGE)
    name = (job.id, attempt)
    live = (await told([name], deps)).get(name)
    if live is None and record is None and attempt != running_attempt(job):
        raise _no_record(job, attempt)
    return PlainTextResponse(live.log if live else "", headers=_NO_PAGE)


def _read_number(cursor: str | None) -> int:
    """The attempt after which a page begins; raises `Rejected`."""
    if cursor is None:
        return 0
    if not _NUMBER.fullmatch(cursor):
        raise Rejected("invalid", Flaw("/cursor", "is not a cursor of this list"))
    return int(cursor)


def _no_record(job: Job, attempt: int) -> NotFound:
    return NotFound(f"there is no record of attempt {attempt} of job {job.id}")


def _log_of(execution: Execution) -> str:
    parts = [str(execution.report.get(name) or "") for name in ("stdout", "stderr")]
    if not any(parts):
        texts = (execution.report.get(name) for name in ("log", "body"))
        parts = [text for text in texts if isinstance(text, str)]
        if execution.error is not None:
            parts.append(execution.error.detail or execution.error.message)
    return "\n".join(part.rstrip("\n") for part in parts if part) + "\n" if any(parts) else ""
