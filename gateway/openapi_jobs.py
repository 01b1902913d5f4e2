"""The part of the API's description that tells of jobs: shapes, examples, refusals."""

from copy import deepcopy

from gateway.bulk_call import BulkCall
from gateway.deps import Limits
from gateway.openapi_shapes import (
    JOB_ID,
    KEY,
    REF,
    Schema,
    array,
    instant,
    maybe,
    narrow,
    obj,
    ok,
    page,
    patch_of,
    ref,
    takes,
    tell,
)
from pipeline.domain.execution import Outcome
from pipeline.domain.job import JobSpec
from pipeline.domain.retry import RetryPolicy
from pipeline.domain.states import VISIBLE_STATES

_AT = "2026-11-21T12:00:00.000Z"
_SPEC = {"command": "echo hello", "queue": "mail", "tags": ["nightly"]}
_JOB = {
    "id": JOB_ID,
    "status": "succeeded",
    "kind": "command",
    "name": None,
    "priority": 5,
    "timeout": 300.0,
    "on_lost": "retry",
    **_SPEC,
    "retry": RetryPolicy().model_dump(mode="json"),
    "due_at": _AT,
    "attempt": 1,
    "failures": 0,
    "created_at": _AT,
    "started_at": _AT,
    "finished_at": _AT,
    "worker": "host-1",
    "result": None,
    "last_error": None,
    "progress": None,
    "schedule_id": None,
    "fire_time": None,
    "reason": None,
}
_EXECUTION = {
    "job_id": JOB_ID,
    "attempt": 1,
    "outcome": "succeeded",
    "worker": "host-1",
    "queued_at": _AT,
    "started_at": _AT,
    "finished_at": _AT,
    "result": None,
    "error": None,
    "exit_code": 0,
    "stdout": "hello\n",
}
_SUBMITTED = {
    "id": JOB_ID,
    "status": "queued",
    "kind": "command",
    "queue": "mail",
    "due_at": _AT,
}
_REJECTED = {
    "index": 1,
    "code": "invalid",
    "errors": [{"pointer": "/tsak", "detail": "is not a field of this object"}],
}
_BATCH = {"accepted": 1, "ids": [JOB_ID], "rejected": [_REJECTED]}
_TALLY = {"matched": 120, "changed": 119, "unchanged": 1, "complete": True}
_CALL = {"filter": {"queue": "mail", "status": ["pending", "queued"]}, "limit": 1000}
_CHANGE = {"priority": 9, "delay": 60, "tags": None}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string", "examples": ["wait=10"]},
    "description": "`wait=N` waits up to N (60) seconds for the end of the job.",
}
_MATCH = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The `ETag` of the job as it was read.",
}
_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "An `ETag`: 304 while the job is still as it was then.",
}
_TAG = "Of the job as it is shown, for `If-Match` and `If-None-Match`."
_CHANGES = "403 404 409 412 413 415 422 503"


def describe_jobs(schema: Schema, limits: Limits) -> None:
    """Complete the description in place."""
    schema["components"]["schemas"].update(_components(limits))
    paths = schema["paths"]
    _submits(paths)
    _many(paths, limits)
    _one(paths)
    _attempts(paths, limits)


def _submits(paths: Schema) -> None:
    one: Schema = {"tags": ["jobs"], "summary": "Submit a job", "operationId": "submit_job"}
    body = takes({"application/json": "JobSpec"}, _SPEC)
    accepted = ok("Submitted", _SUBMITTED) | {"description": "RabbitMQ has confirmed the job."}
    tell(one, "202", accepted, "403 409 413 415 422 503", body, [KEY, _PREFER])
    ended = "The job, at its end (`Prefer: wait`)."
    one["responses"]["200"] = ok("Job", _JOB) | {"description": ended}
    paths.setdefault("/api/jobs", {})["post"] = one
    many: Schema = {
        "tags": ["jobs"],
        "summary": "Submit up to 10,000 jobs",
        "operationId": "submit_batch",
    }
    body = takes({"application/json": "Batch"}, [_SPEC])
    lines = '{"command": "echo one"}\n{"command": "echo two"}\n'
    body["content"]["application/x-ndjson"] = {"schema": {"type": "string"}, "example": lines}
    tell(many, "202", ok("Accepted", _BATCH), "403 409 413 415 422 503", body, [KEY])
    paths.setdefault("/api/jobs/batch", {})["post"] = many


def _many(paths: Schema, limits: Limits) -> None:
    listed = paths["/api/jobs"]["get"]
    tell(listed, "200", ok("Jobs", {"items": [_JOB], "next_cursor": None}), "403 422 503")
    narrow(listed, "limit", maximum=limits.page_jobs)
    call = takes({"application/json": "BulkCall"}, _CALL)
    for verb in ("cancel", "retry", "delete"):
        operation = paths[f"/api/jobs/{verb}"]["post"]
        tell(operation, "200", ok("Tally", _TALLY), "403 413 415 422 503", call)


def _one(paths: Schema) -> None:
    one, shown = paths["/api/jobs/{job_id}"], ok("Job", _JOB, tag=_TAG)
    same = {"description": "It is what `If-None-Match` names."}
    looks = ((one["get"], "403 404 503"), (paths["/api/job"]["get"], "403 404 422 503"))
    for operation, refusals in looks:
        tell(operation, "200", shown, refusals, None, [_NONE_MATCH])
        operation["responses"]["304"] = same
    patch = takes(
        {"application/merge-patch+json": "JobPatch", "application/json": "JobPatch"}, _CHANGE
    )
    tell(one["patch"], "200", shown, _CHANGES, patch, [_MATCH])
    gone = {"description": "It is gone."}
    tell(one["delete"], "204", gone, "403 404 409 412 413 415 503", None, [_MATCH])
    for verb in ("run", "cancel", "retry"):
        operation = paths[f"/api/jobs/{{job_id}}/{verb}"]["post"]
        tell(operation, "200", shown, _CHANGES, None, [_MATCH])


def _attempts(paths: Schema, limits: Limits) -> None:
    all_of_it = "/api/jobs/{job_id}/executions"
    listed = ok("Executions", {"items": [_EXECUTION], "next_cursor": None})
    tell(paths[all_of_it]["get"], "200", listed, "403 404 422 503")
    narrow(paths[all_of_it]["get"], "limit", maximum=limits.page_jobs)
    one = f"{all_of_it}/{{attempt}}"
    tell(paths[one]["get"], "200", ok("Execution", _EXECUTION), "403 404 422 503")
    text = {"text/plain": {"schema": {"type": "string"}, "example": "hello\n"}}
    log = {"description": "As asked.", "content": text}
    tell(paths[f"{one}/log"]["get"], "200", log, "403 404 422 503")


# -- shapes


def _components(limits: Limits) -> Schema:
    spec = JobSpec.model_json_schema(ref_template=REF, mode="validation")
    shapes: Schema = spec.pop("$defs", {})
    call = BulkCall.model_json_schema(ref_template=REF)
    shapes |= call.pop("$defs", {})
    call["properties"]["limit"]["maximum"] = limits.bulk_jobs
    text, whole = {"type": "string"}, {"type": "integer"}
    identity = {"type": "string", "format": "uuid"}
    return shapes | {
        "JobSpec": spec,
        "JobPatch": patch_of(spec, "of the job as it was asked for"),
        "Job": _stored(spec),
        "Jobs": page(ref("Job")),
        "Batch": array(ref("JobSpec")) | {"minItems": 1, "maxItems": limits.batch_jobs},
        "Submitted": obj(id=identity, status=text, kind=text, queue=text, due_at=instant()),
        "Accepted": obj(accepted=whole, ids=array(identity), rejected=array(_refusal())),
        "BulkCall": call | {"oneOf": _one_of_filter_and_all()},
        "Tally": _tally(),
        "Execution": _execution(),
        "Executions": page(ref("Execution")),
    }


def _one_of_filter_and_all() -> list[Schema]:
    """A slip cancels nothing: without a filter, `all` has to be said."""
    not_all, all_of_them = {"const": False}, {"const": True}
    return [
        {"required": ["filter"], "properties": {"filter": {"minProperties": 1}, "all": not_all}},
        {"required": ["all"], "properties": {"filter": {"maxProperties": 0}, "all": all_of_them}},
    ]


def _stored(spec: Schema) -> Schema:
    text, whole = {"type": "string"}, {"type": "integer"}
    fraction = {"type": "number", "minimum": 0, "maximum": 1}
    told = obj(
        id={"type": "string", "format": "uuid"},
        status={"type": "string", "enum": sorted(VISIBLE_STATES)},
        kind=text,
        due_at=instant(),
        attempt=whole,
        failures=whole,
        created_at=instant(),
        started_at=maybe(instant()),
        finished_at=maybe(instant()),
        worker=maybe(text),
        result={},
        last_error=maybe(_error()),
        progress=maybe(obj(fraction=fraction, note=maybe(text))),
        schedule_id=maybe(text),
        fire_time=maybe(instant()),
        reason=maybe(text),
    )
    return told | {"properties": deepcopy(spec["properties"]) | told["properties"]}


def _execution() -> Schema:
    text = {"type": "string"}
    results = {"type": "string", "enum": ["failed", "succeeded", "timed_out"]}
    late = obj(outcome=results, finished_at=instant())
    told = obj(
        job_id={"type": "string", "format": "uuid"},
        attempt={"type": "integer"},
        outcome={"type": "string", "enum": sorted(Outcome)},
        worker=text,
        queued_at=maybe(instant()),
        started_at=maybe(instant()),
        finished_at=maybe(instant()),
        result={},
        error=maybe(_error()),
    )
    return told | {"properties": told["properties"] | {"late": late}}


def _error() -> Schema:
    text = {"type": "string"}
    return obj(type=text, message=text, detail=maybe(text))


def _refusal() -> Schema:
    text = {"type": "string"}
    return obj(index={"type": "integer"}, code=text, errors=array(obj(pointer=text, detail=text)))


def _tally() -> Schema:
    """A dry run changes nothing, and tells so by leaving the two out."""
    whole = {"type": "integer"}
    tally = obj(matched=whole, changed=whole, unchanged=whole, complete={"type": "boolean"})
    return tally | {"required": ["matched", "complete"]}
