"""The part of the API's description that FastAPI cannot see: bodies, answers and refusals.

FastAPI knows the paths and the parameters in them; the rest stands in the modules beside this one.
"""

from typing import Any

from gateway.deps import Limits
from gateway.openapi_jobs import describe_jobs
from gateway.openapi_queues import describe_queues
from gateway.openapi_schedules import describe_schedules
from gateway.openapi_shapes import array, bounded, obj
from gateway.openapi_workers import describe_workers

_CURSOR = {"minLength": 1, "pattern": "^[A-Za-z0-9_-]+$"}


def describe(schema: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The generated description, completed."""
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    if "JobSpec" in components:
        return schema  # the generator keeps its result, and this has been here
    components["Problem"] = _problem()
    describe_jobs(schema, limits)
    describe_queues(schema, limits)
    describe_workers(schema)
    describe_schedules(schema, limits)
    for unsent in ("HTTPValidationError", "ValidationError"):
        components.pop(unsent, None)
    _cursors(schema["paths"])
    bounded(schema)
    return schema


def _cursors(paths: dict[str, Any]) -> None:
    for operations in paths.values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "cursor":
                    _narrow_text(parameter["schema"])


def _narrow_text(schema: dict[str, Any]) -> None:
    for each in schema.get("anyOf", [schema]):
        if each.get("type") == "string":
            each.update(_CURSOR)


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    problem = obj(
        type=text,
        title=text,
        status={"type": "integer"},
        detail=text,
        errors=array(obj(pointer=text, detail=text)),
    )
    return problem | {"required": ["type", "title", "status", "detail"]}
