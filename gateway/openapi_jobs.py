"""The part of the API's description that FastAPI cannot see: changes of jobs, and calls on many."""

from typing import Any

from starlette.responses import Response

from gateway.bulk_call import BulkCall

_REF = "#/components/schemas/{model}"
_PROBLEM = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}


def _refusals(**told: str) -> dict[int | str, dict[str, Any]]:
    return {code[1:]: {"description": text, "content": _PROBLEM} for code, text in told.items()}


_PATCH = {
    "schema": {
        "type": "object",
        "description": "A JSON Merge Patch (RFC 7396) of the job as it was asked for.",
        "examples": [{"priority": 9, "delay": 60, "tags": None}],
    }
}
CHANGE: dict[str, Any] = {
    "response_class": Response,
    "responses": _refusals(
        _409="The job runs or has ended",
        _412="It is not what `If-Match` names",
        _413="Too large",
        _422="The result is no job; `errors` says where",
        _503="Not changed now, or nobody knows",
    ),
    "openapi_extra": {
        "parameters": [
            {
                "name": "If-Match",
                "in": "header",
                "schema": {"type": "string"},
                "description": "The `ETag` of the job as it was read.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/merge-patch+json": _PATCH, "application/json": _PATCH},
        },
    },
}

_TALLY = {
    "type": "object",
    "properties": {
        "matched": {"type": "integer"},
        "changed": {"type": "integer"},
        "unchanged": {"type": "integer"},
        "complete": {"type": "boolean"},
    },
    "required": ["matched", "complete"],
    "examples": [{"matched": 120, "changed": 119, "unchanged": 1, "complete": True}],
}


def describe_jobs(schema: dict[str, Any]) -> None:
    """Add the shapes that the routes below name."""
    call = BulkCall.model_json_schema(ref_template=_REF)
    components = schema["components"]["schemas"]
    components.update({**call.pop("$defs", {}), "BulkCall": call})


def bulk() -> dict[str, Any]:
    """Of a call on many jobs."""
    answered: dict[int | str, dict[str, Any]] = {
        200: {"description": "How many.", "content": {"application/json": {"schema": _TALLY}}}
    }
    refused = _refusals(
        _422="Not such a call; `errors` says where", _503="Not done, or only in part: call again"
    )
    schema = {"$ref": _REF.format(model="BulkCall")}
    return {
        "response_class": Response,
        "responses": answered | refused,
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        },
    }
