"""The part of the API's description that tells of workers and watchers, and workers over HTTP."""

from pydantic import BaseModel

from gateway.openapi_shapes import (
    JOB_ID,
    REF,
    Schema,
    array,
    instant,
    obj,
    ok,
    page,
    ref,
    takes,
    tell,
)
from gateway.worker_calls import HeartbeatCall, LogCall, RegisterCall, ResultCall

_AT = "2026-11-21T12:00:00.000Z"
_WATCHER = {
    "id": "host-1-watcher",
    "host": "host-1",
    "pid": 4711,
    "version": "1.0.0",
    "started_at": _AT,
    "last_seen_at": _AT,
}
_WORKER = {
    "id": "host-1-worker",
    "host": "host-1",
    "pid": 4712,
    "queues": ["mail"],
    "concurrency": 8,
    "running": 2,
    "started_at": _AT,
    "last_seen_at": _AT,
    "version": "1.0.0",
}
_HELD = {"id": JOB_ID, "attempt": 1, "lease": "5f3a9c1d2e4b"}
_NAMED = {"id": JOB_ID, "attempt": 1}
_REGISTER = {"id": "shell-1", "queues": ["mail:3", "default"], "concurrency": 2, "host": "host-1"}
_REGISTERED = {
    "id": "shell-1",
    "queues": ["mail:3", "default"],
    "lease_seconds": 15.0,
    "heartbeat_seconds": 5.0,
}
_BEAT = {"worker": "shell-1", "jobs": [_HELD]}
_BEATEN = {"registered": True, "running": [_NAMED], "stop": []}
_LINES = {"attempt": 1, "lease": "5f3a9c1d2e4b", "text": "half\n", "progress": 0.5, "note": None}
_ENDED = {"attempt": 1, "lease": "5f3a9c1d2e4b", "outcome": "succeeded", "result": {"sent": 3}}
_REFUSALS = "403 404 409 413 415 422 503"
_HANDED = (
    "DueQ-Job-Id",
    "DueQ-Attempt",
    "DueQ-Lease",
    "DueQ-Scheduled-At",
    "DueQ-Schedule-Id",
    "DueQ-Fire-Time",
)
_CALLS: dict[str, type[BaseModel]] = {
    "RegisterCall": RegisterCall,
    "HeartbeatCall": HeartbeatCall,
    "LogCall": LogCall,
    "ResultCall": ResultCall,
}


def describe_workers(schema: Schema) -> None:
    """Complete the description in place; the shapes of jobs are there."""
    components, paths = schema["components"]["schemas"], schema["paths"]
    components.update(_components())
    for kind, example in (("workers", _WORKER), ("watchers", _WATCHER)):
        listed = ok(kind.title(), {"items": [example], "next_cursor": None})
        tell(paths[f"/api/{kind}"]["get"], "200", listed, "403 503")
    calls = {
        "register": ("Register", _REGISTER, _REGISTERED),
        "heartbeat": ("Heartbeat", _BEAT, _BEATEN),
    }
    for verb, (name, asked, answered) in calls.items():
        operation = paths[f"/api/workers/{verb}"]["post"]
        body = takes({"application/json": f"{name}Call"}, asked)
        refusals = "403 409 413 415 422 503"
        tell(operation, "200", ok(f"{name}Answer", answered), refusals, body)
    _one(schema)


def _one(schema: Schema) -> None:
    paths, job = schema["paths"], "/api/jobs/{job_id}"
    job_example = paths[job]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    handed = job_example | {"status": "running", "finished_at": None, "lease": _HELD["lease"]}
    answer = ok("HandedJob", handed | {"lease_seconds": 15.0})
    answer["headers"] = {name: {"schema": {"type": "string"}} for name in _HANDED}
    take = paths["/api/workers/{worker}/next"]["get"]
    tell(take, "200", answer, "403 404 413 422 429 503")
    take["responses"]["204"] = {"description": "Nothing to do within `wait`."}
    gone = {"description": "It is not listed (any more)."}
    retire = paths["/api/workers/{worker}"]["delete"]
    tell(retire, "204", gone, "403 404 503")
    lines = takes({"application/json": "LogCall"}, _LINES)
    kept = {"description": "It is kept."}
    tell(paths[f"{job}/log"]["post"], "204", kept, _REFUSALS, lines)
    ended = takes({"application/json": "ResultCall"}, _ENDED)
    execution = paths[f"{job}/executions/{{attempt}}"]["get"]["responses"]["200"]
    tell(paths[f"{job}/result"]["post"], "200", execution, _REFUSALS, ended)


def _components() -> Schema:
    shapes: Schema = {}
    for name, call in _CALLS.items():
        shape = call.model_json_schema(ref_template=REF)
        shapes |= shape.pop("$defs", {})
        shapes[name] = shape
    text, whole, number = {"type": "string"}, {"type": "integer"}, {"type": "number"}
    watcher = obj(
        id=text, host=text, pid=whole, version=text, started_at=instant(), last_seen_at=instant()
    )
    attempts = array(obj(id=text, attempt=whole))
    return shapes | {
        "Watchers": page(watcher),
        "Workers": page(_worker()),
        "RegisterAnswer": obj(
            id=text, queues=array(text), lease_seconds=number, heartbeat_seconds=number
        ),
        "HeartbeatAnswer": obj(registered={"type": "boolean"}, running=attempts, stop=attempts),
        "HandedJob": {"allOf": [ref("Job"), obj(lease=text, lease_seconds=number)]},
    }


def _worker() -> Schema:
    text, whole = {"type": "string"}, {"type": "integer"}
    return obj(
        id=text, host=text, pid=whole, queues=array(text), concurrency=whole, running=whole,
        started_at=instant(), last_seen_at=instant(),
    )  # fmt: skip
