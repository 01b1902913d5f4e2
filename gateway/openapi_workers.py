"""The part of the API's description that FastAPI cannot see: what workers over HTTP send."""

from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from gateway.worker_calls import HeartbeatCall, LogCall, RegisterCall, ResultCall

_LOST = {409: {"description": "The attempt is lost or over: another record stands."}}
_UNKNOWN = {404: {"description": "No such worker over HTTP: register (again)."}}


def _takes(shape: type[BaseModel], summary: str, **more: Any) -> dict[str, Any]:
    schema = shape.model_json_schema()
    for definition in schema.pop("$defs", {}).values():
        schema = _inlined(schema, definition)
    return {
        "summary": summary,
        "response_class": Response,
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        },
        **more,
    }


def _inlined(schema: Any, definition: dict[str, Any]) -> Any:
    """The schema with this definition where it is referred to: each is used once."""
    if isinstance(schema, dict):
        if schema.get("$ref") == f"#/$defs/{definition['title']}":
            return definition
        return {key: _inlined(value, definition) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_inlined(each, definition) for each in schema]
    return schema


REGISTER = _takes(RegisterCall, "A worker over HTTP is there")
BEAT = _takes(HeartbeatCall, "A worker over HTTP is alive, and what it runs")
LOG = _takes(LogCall, "What a running attempt writes", status_code=204, responses=_LOST)
RESULT = _takes(ResultCall, "How an attempt ended", responses=_LOST)
NEXT: dict[str, Any] = {
    "summary": "Work for a worker over HTTP",
    "response_class": Response,
    "responses": {204: {"description": "Nothing to do within `wait`."}, **_UNKNOWN},
}
