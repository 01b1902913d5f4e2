"""A job that a task asks for, as it would come over HTTP."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from pipeline.domain.body import MAX_JOB_BYTES, check_value
from pipeline.domain.errors import Flaw, Rejected


def body_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON cannot say, or is too much, is refused here and not at the ingest."""
    data = to_json(asked)
    if len(data) > MAX_JOB_BYTES:
        raise Rejected("too_large", Flaw("", f"a job is {MAX_JOB_BYTES} bytes at most"))
    body: dict[str, Any] = from_json(data)
    check_value(body)
    return body
