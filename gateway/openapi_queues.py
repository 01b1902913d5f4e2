"""The part of the API's description that tells of queues, counts and the process itself."""

from gateway.deps import Limits
from gateway.openapi_shapes import (
    JOB_ID,
    Schema,
    array,
    instant,
    maybe,
    narrow,
    obj,
    ok,
    page,
    ref,
    takes,
    tell,
)
from pipeline.domain.states import VISIBLE_STATES

_QUEUE = {
    "name": "mail",
    "delayed": 2,
    "ready": 1,
    "leased": 4,
    "paused": False,
    "oldest_wait": 0.25,
}
_SHOWN = {
    **_QUEUE,
    "workers": 2,
    "limits": {
        "concurrency": 4,
        "rate": {"count": 10, "per": 1.0},
        "waits_for": "4 of 4 running",
    },
    "waiting_keys": [
        {"key": "customer-7", "waiting": 3, "running": 1, "waits_for": "1 of 1 running"}
    ],
    "sick_targets": [
        {
            "target": "https://example.com:443",
            "since": "2026-11-21T12:00:00.000Z",
            "probe_at": "2026-11-21T12:00:30.000Z",
            "failed_probes": 1,
            "error": "503",
            "held": 12,
        }
    ],
}
_PEEKED = {
    "id": JOB_ID,
    "priority": 5,
    "due_at": "2026-11-21T12:00:00.000Z",
    "ready": True,
    "waits_for": None,
}
_STATS = {
    "jobs": {state.value: 0 for state in sorted(VISIBLE_STATES)} | {"succeeded": 1200},
    "queues": [_QUEUE],
    "workers": {"alive": 2, "slots": 16, "running": 4},
}
_PROCESS = {
    "role": "gateway",
    "pid": 4711,
    "host": "host-1",
    "version": "1.0.0",
    "started_at": "2026-11-21T12:00:00.000Z",
    "uptime": 3600.5,
    "ready": True,
    "counters": {"jobs_submitted": {"command": 12.0}},
}
_LIMIT = {"concurrency": 20, "rate": {"count": 10, "per": 1}}


def describe_queues(schema: Schema, limits: Limits) -> None:
    """Complete the description in place."""
    schema["components"]["schemas"].update(_components())
    paths, one = schema["paths"], "/api/queues/{queue}"
    listed = {"items": [_QUEUE], "next_cursor": None}
    tell(paths["/api/queues"]["get"], "200", ok("Queues", listed), "403 503")
    tell(paths[one]["get"], "200", ok("QueueShown", _SHOWN), "403 404 503")
    body = takes(
        {"application/merge-patch+json": "QueuePatch", "application/json": "QueuePatch"}, _LIMIT
    )
    refusals = "403 404 413 415 422 503"
    tell(paths[one]["patch"], "200", ok("QueueShown", _SHOWN), refusals, body)
    for verb in ("pause", "resume"):
        tell(paths[f"{one}/{verb}"]["post"], "200", ok("Queue", _QUEUE), refusals)
    peek = paths[f"{one}/peek"]["get"]
    tell(peek, "200", ok("Peeked", {"items": [_PEEKED], "next_cursor": None}), "403 404 422 503")
    narrow(peek, "n", maximum=limits.peek_jobs)
    tell(paths["/api/stats"]["get"], "200", ok("Stats", _STATS), "403 503")
    _process(paths)


def _process(paths: Schema) -> None:
    tell(paths["/livez"]["get"], "200", ok("Status", {"status": "alive"}), "403")
    tell(paths["/readyz"]["get"], "200", ok("Status", {"status": "ready"}), "403 503")
    tell(paths["/stats"]["get"], "200", ok("ProcessStats", _PROCESS), "403")
    text = {"text/plain": {"schema": {"type": "string"}, "example": "dueq_ended_total 12.0\n"}}
    told = {"description": "The Prometheus text format.", "content": text}
    tell(paths["/metrics"]["get"], "200", told, "403")


def _components() -> Schema:
    text, whole, number = {"type": "string"}, {"type": "integer"}, {"type": "number"}
    flag = {"type": "boolean"}
    queue = obj(
        name=text, delayed=whole, ready=whole, leased=whole, paused=flag, oldest_wait=number
    )
    counts = obj(**{state.value: whole for state in sorted(VISIBLE_STATES)})
    peeked = obj(id=text, priority=whole, due_at=instant(), ready=flag, waits_for=maybe(text))
    return {
        "Queue": queue,
        "Queues": page(ref("Queue")),
        "QueueShown": _shown(queue),
        "QueuePatch": _patch(),
        "Peeked": page(peeked),
        "Stats": obj(
            jobs=counts,
            queues=array(ref("Queue")),
            workers=obj(alive=whole, slots=whole, running=whole),
        ),
        "Status": obj(status=text),
        "ProcessStats": obj(
            role=text, pid=whole, host=text, version=text, started_at=instant(), uptime=number,
            ready=flag, counters={"type": "object"},
        ),
    }  # fmt: skip


def _shown(queue: Schema) -> Schema:
    text, whole = {"type": "string"}, {"type": "integer"}
    rate = obj(count=whole, per={"type": "number"}, burst=whole) | {"required": ["count", "per"]}
    key = obj(key=text, waiting=whole, running=whole, waits_for=maybe(text))
    target = obj(
        target=text, since=instant(), probe_at=instant(), failed_probes=whole, error=text,
        held=whole,
    )  # fmt: skip
    limits = obj(concurrency=maybe(whole), rate=maybe(rate), waits_for=maybe(text))
    more = {"limits": limits, "waiting_keys": array(key), "sick_targets": array(target)}
    return obj(**queue["properties"], workers=whole, **more)


def _patch() -> Schema:
    """Null removes: no limit, or the usual `per` and `burst`."""
    most = {"type": ["integer", "null"], "minimum": 1, "maximum": 1_000_000}
    per = {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 31 * 86_400}
    rate = {
        "type": ["object", "null"],
        "properties": {
            "count": most | {"type": "integer"},
            "per": per | {"default": 1.0, "description": "Seconds; 10,000 a second at most."},
            "burst": most,
        },
        "additionalProperties": {"type": "null"},
    }
    return {
        "type": "object",
        "description": "A JSON Merge Patch (RFC 7396) of the queue's limit.",
        "properties": {"concurrency": most, "rate": rate},
        "additionalProperties": {"type": "null"},
    }
