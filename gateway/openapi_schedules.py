"""The part of the API's description that tells of schedules: shapes, examples, refusals.

FastAPI knows the paths and the parameters in them; what goes in and out of the bodies stands here.
"""

from copy import deepcopy

from gateway.deps import Limits
from gateway.openapi_shapes import (
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
from pipeline.domain.firing import SkipReason
from pipeline.domain.schedule import ScheduleSpec

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
_REFUSALS = "403 404 413 415 422 503"
_MATCH = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string", "minLength": 1},
    "description": "Only if the schedule is still at this version (its `ETag`), else 412.",
}


def describe_schedules(schema: Schema, limits: Limits) -> None:
    """Complete the description in place; the shapes of jobs are there."""
    components = schema["components"]["schemas"]
    components.update(_components(components))
    paths = schema["paths"]
    _stored_ones(paths, limits)
    _fires(paths, limits)


def _stored_ones(paths: Schema, limits: Limits) -> None:
    one = "/api/schedules/{schedule_id}"
    new = takes({"application/json": "ScheduleSpec"}, _SPEC)
    patch = takes(
        {"application/merge-patch+json": "SchedulePatch", "application/json": "SchedulePatch"},
        {"cron": "0 8 * * MON-FRI", "job": {"priority": 9}},
    )
    found, listed = _found(), {"items": [_SCHEDULE], "next_cursor": None}
    tell(paths["/api/schedules"]["post"], "201", found, "403 413 415 422 503", new, [KEY])
    tell(paths["/api/schedules"]["get"], "200", ok("Schedules", listed), "403 422 503")
    narrow(paths["/api/schedules"]["get"], "limit", maximum=limits.page_jobs)
    tell(paths[one]["get"], "200", found, "403 404 503")
    tell(paths[one]["patch"], "200", found, f"412 {_REFUSALS}", patch, [_MATCH])
    gone = {"description": "It is gone."}
    tell(paths[one]["delete"], "204", gone, "403 404 412 413 415 503", None, [_MATCH])
    for verb in ("pause", "resume"):
        operation = paths[f"{one}/{verb}"]["post"]
        tell(operation, "200", found, f"412 {_REFUSALS}", None, [_MATCH])


def _fires(paths: Schema, limits: Limits) -> None:
    one, seen = "/api/schedules/{schedule_id}", ok("Preview", _PREVIEW)
    submitted = ok("Submitted", _SUBMITTED)
    tell(paths[f"{one}/trigger"]["post"], "202", submitted, f"409 {_REFUSALS}", None, [KEY])
    tell(paths[f"{one}/preview"]["get"], "200", seen, "403 404 422 503")
    new = takes({"application/json": "ScheduleSpec"}, _SPEC)
    tell(paths["/api/schedules/preview"]["post"], "200", seen, "403 413 415 422", new)
    tell(paths[f"{one}/fires"]["get"], "200", ok("Fires", _FIRES), "403 404 422 503")
    narrow(paths[f"{one}/fires"]["get"], "limit", maximum=limits.page_jobs)
    seen = ok("Forecast", _FORECAST)
    tell(paths["/api/schedules/forecast"]["post"], "200", seen, "403 413 415 422 503")


def _found() -> Schema:
    return ok("Schedule", _SCHEDULE, tag="The version, for `If-Match`.")


# -- shapes


def _components(there: Schema) -> Schema:
    spec = ScheduleSpec.model_json_schema(ref_template=REF, mode="validation")
    shapes = {name: shape for name, shape in spec.pop("$defs").items() if name not in there}
    text, number = {"type": "string"}, {"type": "number"}
    shapes |= {
        "ScheduleSpec": spec | {"oneOf": _cron_or_every()},
        "SchedulePatch": patch_of(spec, "of what was asked for"),
        "Schedule": _stored(spec),
        "Schedules": page(ref("Schedule")),
        "Fires": page({"anyOf": [_run(), _skipped()]}),
        "Preview": page(
            obj(at=instant(), local=text, note=maybe(text)),
            in_words=text,
            timezone=text,
            clock_changes=array(obj(at=instant(), local_before=text, local_after=text, note=text)),
        ),
        "Forecast": obj(
            **{"from": instant()},
            to=instant(),
            schedules={"type": "integer"},
            total=number,
            busiest=array(obj(at=instant(), jobs=number)),
            minutes=array(obj(at=instant(), jobs=number)),
        ),
    }
    return shapes


def _cron_or_every() -> list[Schema]:
    """A schedule has one of the two; null is as if it were not there."""
    none, text, number = {"type": "null"}, {"type": "string"}, {"type": "number"}
    return [
        {"required": ["cron"], "properties": {"cron": text, "every": none}},
        {
            "required": ["every"],
            "properties": {"cron": none, "every": number, "gap": none, "repeat": none},
        },
    ]


def _stored(spec: Schema) -> Schema:
    told = obj(
        id={"type": "string", "format": "uuid"},
        in_words={"type": "string"},
        next_fire_at=maybe(instant()),
        last_fire_at=maybe(instant()),
        version={"type": "integer"},
        created_at=instant(),
        updated_at=instant(),
    )
    return {**told, "properties": {**deepcopy(spec["properties"]), **told["properties"]}}


def _run() -> Schema:
    text = {"type": "string"}
    return obj(fire_time=instant(), job_id=text, status=text, due_at=instant())


def _skipped() -> Schema:
    reasons = {"type": "string", "enum": [str(reason) for reason in SkipReason]}
    return obj(fire_time=instant(), until=instant(), skipped=reasons, decided_at=instant())
