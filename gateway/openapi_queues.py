"""The part of the API's description that FastAPI cannot see: changes of queues."""

from typing import Any

from starlette.responses import Response

_PATCH = {
    "schema": {
        "type": "object",
        "description": "A JSON Merge Patch (RFC 7396) of the queue's limit.",
        "properties": {
            "concurrency": {"type": ["integer", "null"], "minimum": 1},
            "rate": {
                "type": ["object", "null"],
                "properties": {
                    "count": {"type": "integer", "minimum": 1},
                    "per": {"type": "number", "default": 1.0, "description": "Seconds."},
                    "burst": {"type": "integer", "minimum": 1},
                },
            },
        },
        "examples": [{"concurrency": 20, "rate": {"count": 10, "per": 1}}, {"rate": None}],
    }
}
CHANGE_QUEUE: dict[str, Any] = {
    "summary": "Change the limit of a queue",
    "response_class": Response,
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"application/merge-patch+json": _PATCH, "application/json": _PATCH},
        },
    },
}
