"""What a function returned or raised, as an ending; the same in a thread and in a process."""

import traceback
from datetime import timedelta
from typing import Any

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from pipeline.domain.body import check_value
from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Ending, Failed, Succeeded
from workers.executors.executor import DETAIL_CHARS, OUTPUT_BYTES, failed
from workers.tasks import BadPayload, Fail, Retry

_FRAMES = -50
_FLAWS = 100


def success_of(result: Any) -> Succeeded | Failed:
    """The result as JSON, or why it is none."""
    try:
        value = to_jsonable_python(result)
        check_value(value)
        size = len(to_json(value))
    except (PydanticSerializationError, Rejected, ValueError, RecursionError) as error:
        return failed("bad_result", f"the result cannot be stored as JSON: {error}")
    if size > OUTPUT_BYTES:
        return failed(
            "bad_result", f"the result has {size} bytes of JSON, more than {OUTPUT_BYTES}"
        )
    return Succeeded(value)


def failure_of(error: BaseException) -> Failed:
    """What was raised, and whether it says what shall come of it."""
    match error:
        case BadPayload():
            flaws = [{"pointer": each.pointer, "detail": each.detail} for each in error.flaws]
            report: dict[str, object] = {"errors": flaws[:_FLAWS]}
            return failed("bad_payload", str(error), retryable=False, report=report)
        case Fail():
            return failed("Fail", _text_of(error), retryable=False)
        case Retry():
            return failed("Retry", _text_of(error), retry_after=error.delay)
        case _:
            story = "".join(traceback.format_exception(error, limit=_FRAMES))
            name = type(error).__name__
            return failed(name, _text_of(error), detail=story[-DETAIL_CHARS:])


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"


def as_json(ending: Ending) -> dict[str, Any]:
    """An ending of a function, to be sent to another process."""
    match ending:
        case Succeeded():
            return {"result": ending.result}
        case Failed():
            after = ending.retry_after
            return {
                "type": ending.error.type,
                "message": ending.error.message,
                "detail": ending.error.detail,
                "retryable": ending.retryable,
                "retry_after": None if after is None else after.total_seconds(),
                "report": ending.report,
            }
        case _:
            raise TypeError(f"no function ends as {type(ending).__name__}")


def from_json(value: dict[str, Any]) -> Ending:
    """What `as_json` wrote."""
    if "result" in value:
        return Succeeded(value["result"])
    after = value["retry_after"]
    return failed(
        value["type"],
        value["message"],
        detail=value["detail"],
        retryable=value["retryable"],
        retry_after=None if after is None else timedelta(seconds=after),
        report=value["report"],
    )
