"""What a function returned or raised, as an ending; the same in a thread and in a process."""

import inspect
import traceback
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from pipeline.domain.body import check_value
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.execution import Ending, Failed, Succeeded
from pipeline.domain.text import storable
from workers.executors.executor import DETAIL_CHARS, MESSAGE_CHARS, OUTPUT_BYTES, failed
from workers.tasks import BadPayload, Fail, Retry, time_of

_FRAMES = -50
_FLAWS = 100


def success_of(result: Any) -> Succeeded | Failed:
    """The result as JSON, or why it is none. May run users' code: that of a generator."""
    if inspect.iscoroutine(result):
        result.close()
        return failed("bad_result", "it returned a coroutine: what is registered is no async def, "
                      "but wraps one or forgets to await one")  # fmt: skip
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
    """What was raised, and whether it says what shall come of it; in a group, if one of it does."""
    match error:
        case BadPayload():
            report: dict[str, object] = {"errors": [_told(each) for each in error.flaws[:_FLAWS]]}
            return failed("bad_payload", str(error), retryable=False, report=report)
        case Fail():
            return failed("Fail", _text_of(error), detail=_story_behind(error), retryable=False)
        case Retry():
            return _retry(error)
        case BaseExceptionGroup() if (said := _said_in(error)) is not None:
            ending = failure_of(said)
            return replace(ending, error=replace(ending.error, detail=_story_of(error)))
        case _:
            return failed(type(error).__name__, _text_of(error), detail=_story_of(error))


def _said_in(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Of what a `TaskGroup` raises: that it is in vain goes before when to try again."""
    part: BaseException | None = group.subgroup(Fail) or group.subgroup(Retry)
    while isinstance(part, BaseExceptionGroup):
        part = part.exceptions[0]
    return part


def _retry(asked: Retry) -> Failed:
    try:
        after = None if asked.delay is None else time_of(asked.delay)
    except Exception as error:  # a subclass may have set whatever it liked
        return failure_of(error)
    return failed("Retry", _text_of(asked), detail=_story_behind(asked), retry_after=after)


def _story_behind(asked: BaseException) -> str | None:
    """What made it say so, if it was raised because of something."""
    return None if asked.__cause__ is None and asked.__context__ is None else _story_of(asked)


def _story_of(error: BaseException) -> str:
    story = "".join(traceback.format_exception(error, limit=_FRAMES))
    return storable(story[-DETAIL_CHARS:])


def _told(flaw: Flaw) -> dict[str, str]:
    """As much as a record can hold of many: users' keys and words are in them."""
    return {
        "pointer": storable(flaw.pointer[:MESSAGE_CHARS]),
        "detail": storable(flaw.detail[:MESSAGE_CHARS]),
    }


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # users' code, too
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
