"""The part of the API's description that FastAPI cannot see: the hot routes, written by hand."""

from typing import Any

from gateway.openapi_jobs import describe_jobs
from gateway.openapi_schedules import describe_schedules
from pipeline.domain.job import JobSpec

_REF = "#/components/schemas/{model}"
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "The same key and the same body again is the same job.",
}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string", "examples": ["wait=10"]},
    "description": "`wait=N` waits up to N (60) seconds for the end of the job.",
}


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """The generated description with the hot routes and the shapes of jobs and problems."""
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    if "JobSpec" in components:
        return schema  # the generator keeps its result, and this has been here
    spec = JobSpec.model_json_schema(ref_template=_REF, mode="validation")
    components.update(spec.pop("$defs", {}))
    components.update({"JobSpec": spec, "Problem": _problem()})
    paths = schema["paths"]
    paths.setdefault("/api/jobs", {})["post"] = _submit()
    paths.setdefault("/api/jobs/batch", {})["post"] = _submit_batch()
    describe_jobs(schema)
    describe_schedules(schema)
    return schema


def _submit() -> dict[str, Any]:
    return {
        "tags": ["jobs"],
        "summary": "Submit a job",
        "operationId": "submit_job",
        "parameters": [_KEY, _PREFER],
        "requestBody": _body({"application/json": _ref("JobSpec")}),
        "responses": {
            "202": _answer("RabbitMQ has confirmed the job.", {"type": "object"}),
            "200": _answer("The job, at its end (`Prefer: wait`).", {"type": "object"}),
            "409": _refusal("The idempotency key is that of a deleted job"),
            **_problems(),
        },
    }


def _submit_batch() -> dict[str, Any]:
    many = {"type": "array", "items": _ref("JobSpec"), "minItems": 1, "maxItems": 10_000}
    return {
        "tags": ["jobs"],
        "summary": "Submit up to 10,000 jobs",
        "operationId": "submit_batch",
        "parameters": [_KEY],
        "requestBody": _body({"application/json": many, "application/x-ndjson": _ref("JobSpec")}),
        "responses": {
            "202": _answer("`{accepted, ids, rejected}`, ids in input order.", {"type": "object"}),
            **_problems(),
        },
    }


def _ref(model: str) -> dict[str, Any]:
    return {"$ref": _REF.format(model=model)}


def _body(schemas: dict[str, Any]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {media: {"schema": schema} for media, schema in schemas.items()},
    }


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _problems() -> dict[str, Any]:
    told = {
        "403": "Host or Origin is foreign",
        "413": "Too large",
        "415": "Neither JSON nor NDJSON",
        "422": "Not a job; `errors` says where",
        "503": "Not accepted now, or nobody knows (then with the job's id)",
    }
    return {status: _refusal(text) for status, text in told.items()}


def _refusal(text: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {"description": text, "content": content}


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    flaw = {"type": "object", "properties": {"pointer": text, "detail": text}}
    return {
        "type": "object",
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "errors": {"type": "array", "items": flaw},
        },
    }
