"""The part of the API's description that tells of schedules: shapes, examples, refusals.

FastAPI knows the paths and the parameters in them; what goes in and out of the bodies stands here.
"""

from copy import deepcopy
from typing import Any

from pipeline.domain.firing import SkipReason
from pipeline.domain.schedule import ScheduleSpec

Schema = dict[str, Any]
_REF = "#/components/schemas/{model}"
_ID = "019adb2e-7c00-7000-8000-5f3a9c1d2e4b"
_SPEC = {
    "name": "morning-report",
    "cron": "0 9 * * MON-FRI",
    "timezone": "Europe/Berlin",
    "job": {"http": {"method": "POST", "url": "https://example.com/reports"}},
}
_SCHEDULE = {
    "id": _ID,
    **_SPEC,
    "misfire": "latest",
    "misfire_grace": 3600.0,
    "overlap": "allow",
    "jitter": 0.0,
    "start_at": None,
    "end_at": None,
    "paused": False,
    "gap": None,
    "repeat": None,
    "in_words": "At 09:00 on Monday through Friday",
    "next_fire_at": "2026-12-01T08:00:00.000Z",
    "last_fire_at": "2026-11-30T08:00:00.000Z",
    "version": 1,
    "created_at": "2026-11-21T12:00:00.000Z",
    "updated_at": "2026-11-21T12:00:00.000Z",
}
_CHANGE = {
    "at": "2027-03-28T01:00:00.000Z",
    "local_before": "2027-03-28T02:00:00.000+01:00",
    "local_after": "2027-03-28T03:00:00.000+02:00",
    "note": "on 2027-03-28 the clock goes forward from 02:00 to 03:00",
}
_PREVIEW = {
    "in_words": "At 09:00 on Monday through Friday",
    "timezone": "Europe/Berlin",
    "items": [
        {
            "at": "2027-03-26T08:00:00.000Z",
            "local": "2027-03-26T09:00:00.000+01:00",
            "note": None,
        },
        {
            "at": "2027-03-29T07:00:00.000Z",
            "local": "2027-03-29T09:00:00.000+02:00",
            "note": _CHANGE["note"],
        },
    ],
    "clock_changes": [_CHANGE],
    "next_cursor": None,
}
_FIRES = {
    "items": [
        {
            "fire_time": "2026-11-30T08:00:00.000Z",
            "job_id": "b8c7f7a8-2f0e-5d0f-9a54-0c6f4b6a1d11",
            "status": "succeeded",
            "due_at": "2026-11-30T08:00:00.000Z",
        },
        {
            "fire_time": "2026-11-27T08:00:00.000Z",
            "until": "2026-11-27T08:00:00.000Z",
            "skipped": "overlap",
            "decided_at": "2026-11-27T08:00:00.012Z",
        },
    ],
    "next_cursor": None,
}
_HEAP = {"at": "2026-11-23T08:00:00.000Z", "jobs": 1200}
_FORECAST = {
    "from": "2026-11-23T07:30:00.000Z",
    "to": "2026-11-24T07:30:00.000Z",
    "schedules": 1201,
    "total": 1224,
    "busiest": [_HEAP],
    "minutes": [{"at": "2026-11-23T07:59:00.000Z", "jobs": 1}, _HEAP],
}
_SUBMITTED = {
    "id": "019adb2e-9a10-7000-8000-1b2c3d4e5f60",
    "status": "queued",
    "kind": "http",
    "queue": "default",
    "due_at": "2026-11-21T12:00:00.000Z",
}
_TOLD: dict[str, tuple[str, str]] = {
    "403": ("Forbidden", "Origin is another site's"),
    "404": ("Not Found", f"there is no schedule {_ID}"),
    "409": ("Conflict", "the idempotency key is that of a job that was deleted"),
    "412": ("Precondition Failed", "the schedule is at version 3 by now"),
    "413": ("Request Entity Too Large", "a schedule may have 262144 bytes at most"),
    "415": ("Unsupported Media Type", "a schedule is application/json"),
    "422": ("Unprocessable Entity", "/cron: bad day-of-month: it never fires, …"),
    "503": ("Service Unavailable", "MongoDB is unavailable: …"),
}
_FLAW = {
    "pointer": "/cron",
    "detail": "bad day-of-month: it never fires, for there is no day 30 in month 2",
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "The same key and the same body again is the same thing, made once.",
}
_MATCH = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string", "examples": ['"3"']},
    "description": "Only if the schedule is still at this version (its `ETag`), else 412.",
}


def describe_schedules(schema: Schema) -> None:
    """Complete the description in place."""
    components = schema["components"]["schemas"]
    components.update(_components(components))
    paths, one = schema["paths"], "/api/schedules/{schedule_id}"
    new = _body({"application/json": "ScheduleSpec"}, _SPEC)
    patch = _body(
        {"application/merge-patch+json": "SchedulePatch", "application/json": "SchedulePatch"},
        {"cron": "0 8 * * MON-FRI", "job": {"priority": 9}},
    )
    found, listed = _ok("Schedule", _SCHEDULE), {"items": [_SCHEDULE], "next_cursor": None}
    _tell(paths["/api/schedules"]["post"], "201", found, "403 413 415 422 503", new, [_KEY])
    _tell(paths["/api/schedules"]["get"], "200", _ok("Schedules", listed), "422 503")
    _tell(paths[one]["get"], "200", found, "404 503")
    _tell(paths[one]["patch"], "200", found, "403 404 412 413 415 422 503", patch, [_MATCH])
    gone = {"description": "It is gone."}
    _tell(paths[one]["delete"], "204", gone, "403 404 412 503", None, [_MATCH])
    for verb in ("pause", "resume"):
        _tell(paths[f"{one}/{verb}"]["post"], "200", found, "403 404 412 503", None, [_MATCH])
    submitted = _ok("Submitted", _SUBMITTED)
    refused = "403 404 409 422 503"
    _tell(paths[f"{one}/trigger"]["post"], "202", submitted, refused, None, [_KEY])
    seen = _ok("Preview", _PREVIEW)
    _tell(paths[f"{one}/preview"]["get"], "200", seen, "404 422 503")
    _tell(paths["/api/schedules/preview"]["post"], "200", seen, "403 413 415 422", new)
    _tell(paths[f"{one}/fires"]["get"], "200", _ok("Fires", _FIRES), "404 422 503")
    _tell(paths["/api/schedules/forecast"]["post"], "200", _ok("Forecast", _FORECAST), "403 503")


def _tell(
    operation: Schema,
    status: str,
    answer: Schema,
    refusals: str,
    body: Schema | None = None,
    headers: list[Schema] | None = None,
) -> None:
    operation["responses"] = {status: answer, **{each: _refused(each) for each in refusals.split()}}
    if body is not None:
        operation["requestBody"] = body
    if headers:
        operation["parameters"] = [*operation.get("parameters", []), *headers]


def _ok(model: str, example: Schema) -> Schema:
    answer: Schema = {
        "description": "As asked.",
        "content": {"application/json": {"schema": _ref(model), "example": example}},
    }
    if model == "Schedule":
        answer["headers"] = {
            "ETag": {"schema": {"type": "string"}, "description": "The version, for `If-Match`."}
        }
    return answer


def _refused(status: str) -> Schema:
    title, detail = _TOLD[status]
    example: Schema = {
        "type": "about:blank",
        "title": title,
        "status": int(status),
        "detail": detail,
    }
    if status == "422":
        example["errors"] = [_FLAW]
    content = {"application/problem+json": {"schema": _ref("Problem"), "example": example}}
    return {"description": title, "content": content}


def _body(models: dict[str, str], example: Schema) -> Schema:
    return {
        "required": True,
        "content": {
            media: {"schema": _ref(model), "example": example} for media, model in models.items()
        },
    }


def _ref(model: str) -> Schema:
    return {"$ref": _REF.format(model=model)}


# -- shapes


def _components(there: Schema) -> Schema:
    spec = ScheduleSpec.model_json_schema(ref_template=_REF, mode="validation")
    shapes = {name: shape for name, shape in spec.pop("$defs").items() if name not in there}
    text, number = {"type": "string"}, {"type": "number"}
    shapes |= {
        "ScheduleSpec": spec,
        "SchedulePatch": _patch(spec),
        "Schedule": _stored(spec),
        "Schedules": _page(_ref("Schedule")),
        "Fires": _page({"anyOf": [_run(), _skipped()]}),
        "Preview": _page(
            _object(at=_instant(), local=text, note=_maybe(text)),
            in_words=text,
            timezone=text,
            clock_changes=_array(
                _object(at=_instant(), local_before=text, local_after=text, note=text)
            ),
        ),
        "Forecast": _object(
            **{"from": _instant()},
            to=_instant(),
            schedules={"type": "integer"},
            total=number,
            busiest=_array(_object(at=_instant(), jobs=number)),
            minutes=_array(_object(at=_instant(), jobs=number)),
        ),
        "Submitted": _object(id=text, status=text, kind=text, queue=text, due_at=_instant()),
    }
    return shapes


def _patch(spec: Schema) -> Schema:
    """Null removes a field, inside the job too; so nothing is said of what a field may be."""
    return {
        "type": "object",
        "description": "A JSON Merge Patch (RFC 7396) of what was asked for.",
        "properties": {name: {} for name in spec["properties"]},
        "additionalProperties": False,
    }


def _stored(spec: Schema) -> Schema:
    told = _object(
        id={"type": "string", "format": "uuid"},
        in_words={"type": "string"},
        next_fire_at=_maybe(_instant()),
        last_fire_at=_maybe(_instant()),
        version={"type": "integer"},
        created_at=_instant(),
        updated_at=_instant(),
    )
    return {**told, "properties": {**deepcopy(spec["properties"]), **told["properties"]}}


def _run() -> Schema:
    text = {"type": "string"}
    return _object(fire_time=_instant(), job_id=text, status=text, due_at=_instant())


def _skipped() -> Schema:
    reasons = {"type": "string", "enum": [str(reason) for reason in SkipReason]}
    return _object(fire_time=_instant(), until=_instant(), skipped=reasons, decided_at=_instant())


def _page(item: Schema, **more: Schema) -> Schema:
    return _object(items=_array(item), next_cursor=_maybe({"type": "string"}), **more)


def _object(**members: Schema) -> Schema:
    return {"type": "object", "properties": members, "required": list(members)}


def _array(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _instant() -> Schema:
    return {"type": "string", "format": "date-time"}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
