"""The shapes in the AsyncAPI document: of jobs, events, headers and replies."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from pipeline.domain.delayed import MS_AS_TEXT, X_DELAY, X_DELIVER_AT, X_EXCHANGE, X_ROUTING_KEY
from pipeline.domain.job import LONGEST_DELAY, JobSpec
from pipeline.domain.lifecycle import EventBody, JobEvent, Moment
from pipeline.domain.states import State

Node = dict[str, Any]
_SCHEMAS = "#/components/schemas/{model}"
_TEXT: Node = {"type": "string"}
_UUID: Node = {"type": "string", "format": "uuid"}
_TIME: Node = {"type": "string", "format": "date-time"}
EXAMPLE = JobEvent(
    job_id="01a1ff97-d0b2-7640-9af6-15ef897f7a01",
    state=State.DEAD,
    fields={"queue": "mail", "name": "welcome", "attempt": 5, "failures": 5, "reason": "exhausted"},
    moment=Moment(1_795_289_501, 15),
    at=datetime(2026, 11, 21, 19, 31, 41, 924_000, tzinfo=UTC),
)


def schema(name: str) -> Node:
    """The one of this name."""
    return {"$ref": _SCHEMAS.format(model=name)}


def schemas() -> Node:
    """Each by its name."""
    models: Node = {}
    for model, mode in ((JobSpec, "validation"), (EventBody, "serialization")):
        models |= _of_model(model, mode)
    return models | {
        "EventHeaders": _headers(_event_headers(), optional=("ce-dueqattempt",)),
        "JobCloudEvent": _job_event(),
        "AcceptedJob": _accepted_job(),
        "DelayHeaders": _delay_headers(),
        "ParkedHeaders": _headers(_parked_headers(), optional=("dueq-pointer",)),
        "Reply": _reply(),
    }


def _of_model(model: type[BaseModel], mode: Any) -> Node:
    told = model.model_json_schema(ref_template=_SCHEMAS, mode=mode)
    return {**told.pop("$defs", {}), model.__name__: told}


def _headers(properties: Node, optional: tuple[str, ...] = ()) -> Node:
    required = sorted(name for name in properties if name not in optional)
    return {"type": "object", "properties": properties, "required": required}


def _event_headers() -> Node:
    """Names as the code writes them; those that never vary as constants."""
    described = {
        "ce-id": {**_TEXT, "description": "Unique for each state change, the same in a repeat."},
        "ce-subject": {**_UUID, "description": "The job's id."},
        "ce-time": {**_TIME, "description": "By MongoDB's clock."},
        "ce-type": {"enum": [f"dueq.job.{state.value}" for state in State]},
        "ce-sequence": {**_TEXT, "description": "Sorts as the changes of a job happened."},
        "ce-dueqattempt": {**_TEXT, "description": "The fencing token: it only grows."},
    }
    return {name: described.get(name, {"const": said}) for name, said in EXAMPLE.headers.items()}


def _job_event() -> Node:
    attributes = dict.fromkeys(("id", "source", "type"), _TEXT)
    properties = {"specversion": {"const": "1.0"}, **attributes, "data": schema("JobSpec")}
    text = "`source` and `id` together are the idempotency key."
    return {**_headers(properties), "description": text}


def _accepted_job() -> Node:
    properties: Node = {
        "id": _UUID,
        "accepted_at": _TIME,
        "spec": schema("JobSpec"),
        "keyed": {"type": "boolean"},
        "traceparent": _TEXT,
        "schedule_id": _UUID,
        "fire_time": _TIME,
    }
    return _headers(properties, optional=("keyed", "traceparent", "schedule_id", "fire_time"))


def _delay_headers() -> Node:
    properties: Node = {
        X_DELAY: {
            "oneOf": [
                {"type": "integer", "maximum": LONGEST_DELAY * 1000},
                {**_TEXT, "pattern": f"^{MS_AS_TEXT}$"},
            ],
            "description": "Milliseconds from when it is stored, as a number or as text.",
        },
        X_DELIVER_AT: {
            "type": ["string", "integer"],
            "description": "RFC 3339, an AMQP timestamp, or Unix milliseconds.",
        },
        X_EXCHANGE: {**_TEXT, "maxLength": 255, "description": "Where it goes then."},
        X_ROUTING_KEY: {**_TEXT, "maxLength": 255, "description": "Unset: its own."},
    }
    either = [{"required": [X_DELAY]}, {"required": [X_DELIVER_AT]}]
    return {"type": "object", "properties": properties, "oneOf": either}


def _parked_headers() -> Node:
    return {
        "dueq-id": {**_TEXT, "description": "What a person names it by."},
        "dueq-code": {**_TEXT, "description": "Why, in one word: malformed, invalid, …"},
        "dueq-error": {**_TEXT, "description": "Why, in words."},
        "dueq-pointer": {**_TEXT, "description": "Where in the body (RFC 6901)."},
        "dueq-parked-at": {**_TEXT, "description": "When it was parked."},
        "dueq-exchange": {**_TEXT, "description": "Where it was published."},
        "dueq-routing-key": {**_TEXT, "description": "Under which key."},
    }


def _reply() -> Node:
    flaw = {"type": "object", "properties": {"pointer": _TEXT, "detail": _TEXT}}
    rejected = _headers(
        {"index": {"type": "integer"}, "code": _TEXT, "errors": {"type": "array", "items": flaw}}
    )
    return _headers(
        {
            "accepted": {"type": "integer"},
            "ids": {"type": "array", "items": _UUID},
            "rejected": {"type": "array", "items": rejected},
        }
    )
