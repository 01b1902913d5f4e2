"""The AMQP side as an AsyncAPI 3.0 document, made from what the code itself goes by.

Names and arguments come from the topology, jobs from `JobSpec`, events from `EventBody` and from a
`JobEvent`. Seen from DueQ, as AsyncAPI wants it: what it receives others send.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from pipeline.broker.topology import EVENTS, EXCHANGES, JOBS, PARKED, PARKED_QUEUE, SUBMIT_QUEUE
from pipeline.domain.body import MAX_JOB_BYTES, MAX_REQUEST_JOBS
from pipeline.domain.cloudevents import STRUCTURED
from pipeline.domain.delayed import (
    DELAY_EXCHANGE,
    MAX_DELAYED_BYTES,
    MS_AS_TEXT,
    X_DELAY,
    X_DELIVER_AT,
    X_EXCHANGE,
    X_ROUTING_KEY,
)
from pipeline.domain.envelope import ACCEPTED_KEY, MAX_JOBS, SUBMIT_KEY
from pipeline.domain.job import LONGEST_DELAY, NAME, JobSpec
from pipeline.domain.lifecycle import CONTENT_TYPE, EventBody, JobEvent, Moment
from pipeline.domain.states import State
from pipeline.stats import dueq_version

Node = dict[str, Any]
_SCHEMAS = "#/components/schemas/{model}"
_BINDING = "0.3.0"
_TEXT: Node = {"type": "string"}
_UUID: Node = {"type": "string", "format": "uuid"}
_TIME: Node = {"type": "string", "format": "date-time"}
_EXAMPLE = JobEvent(
    job_id="01a1ff97-d0b2-7640-9af6-15ef897f7a01",
    state=State.DEAD,
    fields={"queue": "mail", "name": "welcome", "attempt": 5, "failures": 5, "reason": "exhausted"},
    moment=Moment(1_795_289_501, 15),
    at=datetime(2026, 11, 21, 19, 31, 41, 924_000, tzinfo=UTC),
)


def document() -> Node:
    """All of it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "DueQ",
            "version": dueq_version(),
            "license": {"name": "Apache-2.0"},
            "description": "Submit jobs and delayed messages over AMQP 0-9-1, and hear what "
            "happens to jobs. HTTP is described by openapi.json.",
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "rabbitmq": {
                "host": "127.0.0.1:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "DUEQ_AMQP_URL.",
            }
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


# -- channels -------------------------------------------------------------------------------------


def _channels() -> Node:
    return {
        "submit": _channel(JOBS, SUBMIT_KEY, "Jobs to be run.", "job", "jobs", "jobEvent"),
        "accepted": _channel(JOBS, ACCEPTED_KEY, "The gateway's own.", "accepted"),
        "submitQueue": _queue(SUBMIT_QUEUE, "What DueQ takes in.", "job", "jobs", "accepted"),
        "delay": {
            **_channel(DELAY_EXCHANGE, "{routingKey}", "Messages for later.", "delayed"),
            "parameters": {"routingKey": {"description": "That of the message to come."}},
        },
        "events": {
            **_channel(EVENTS, "job.{state}.{queue}", "What happens to jobs.", "event"),
            "parameters": {
                "state": {"enum": [state.value for state in State]},
                "queue": {
                    "description": f"The job's queue ({NAME}); left out with its dot if nobody "
                    "knows it any more: bind `job.dead.#`, not `job.dead.*`."
                },
            },
        },
        "parked": _channel(PARKED, "", "Messages that can never be jobs.", "parked"),
        "parkedQueue": _queue(PARKED_QUEUE, "Where they wait for a person.", "parked"),
        "replies": {
            "address": None,
            "description": "The queue that `reply_to` names; never one of DueQ's.",
            "messages": _refs("messages", "reply"),
        },
    }


def _channel(exchange: str, key: str, text: str, *messages: str) -> Node:
    (kind,) = (each.type for each in EXCHANGES if each.name == exchange)
    told = {
        "name": exchange,
        "type": kind,
        "durable": True,
        "autoDelete": False,
        "vhost": "/",
    }
    return {
        "address": key,
        "description": text,
        "messages": _refs("messages", *messages),
        "bindings": {
            "amqp": {"is": "routingKey", "exchange": told, "bindingVersion": _BINDING},
        },
    }


def _queue(name: str, text: str, *messages: str) -> Node:
    told = {"name": name, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"}
    return {
        "address": name,
        "description": f"{text} A quorum queue.",
        "messages": _refs("messages", *messages),
        "bindings": {"amqp": {"is": "queue", "queue": told, "bindingVersion": _BINDING}},
    }


def _refs(kind: str, *names: str) -> Node:
    return {name: {"$ref": f"#/components/{kind}/{name}"} for name in names}


# -- operations -----------------------------------------------------------------------------------


def _operations() -> Node:
    reply = {
        "address": {"location": "$message.header#/replyTo"},
        "channel": {"$ref": "#/channels/replies"},
        "messages": [{"$ref": "#/channels/replies/messages/reply"}],
    }
    return {
        "submitJobs": {**_operation("receive", "submit", "Submit jobs"), "reply": reply},
        "takeAccepted": _operation("receive", "accepted", "Jobs that a gateway has accepted"),
        "publishLater": _operation("receive", "delay", "Publish a message later"),
        "tellEvents": _operation(
            "send", "events", "Tell what happens to jobs: at least once, in order for each job"
        ),
        "parkBadMessages": _operation("send", "parked", "Set a bad message aside"),
    }


def _operation(action: str, channel: str, summary: str) -> Node:
    persistent = {"deliveryMode": 2, "mandatory": True, "bindingVersion": _BINDING}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "bindings": {"amqp": persistent},
    }


# -- messages -------------------------------------------------------------------------------------


def _messages() -> Node:
    return {
        "job": _message(
            "One job. `message_id`, if set, is its idempotency key; `reply_to` is answered. "
            "With CloudEvents headers (`ce-…`) source and id are the key.",
            _schema("JobSpec"),
        ),
        "jobs": _message(
            f"Up to {MAX_REQUEST_JOBS:,} jobs of up to {MAX_JOB_BYTES // 1024} KiB; element i has "
            "the key `<message_id>/<i>`.",
            {"type": "array", "items": _schema("JobSpec"), "maxItems": MAX_REQUEST_JOBS},
        ),
        "jobEvent": _message(
            "A job as structured CloudEvent.", _schema("JobCloudEvent"), content_type=STRUCTURED
        ),
        "accepted": _message(
            "Jobs that have an identity.",
            {"type": "array", "items": _schema("AcceptedJob"), "maxItems": MAX_JOBS},
        ),
        "delayed": {
            "summary": "Any message; published as it is, byte for byte, when it is due.",
            "contentType": "application/octet-stream",
            "headers": _schema("DelayHeaders"),
            "payload": {"type": "string", "format": "binary", "maxLength": MAX_DELAYED_BYTES},
        },
        "event": {
            **_message("A state change of a job.", _schema("EventBody")),
            "headers": _schema("EventHeaders"),
            "examples": [
                {
                    "headers": _EXAMPLE.headers,
                    "payload": _EXAMPLE.body.model_dump(mode="json"),
                }
            ],
        },
        "parked": {
            "summary": "The message as it came; of an array its bad elements.",
            "headers": _schema("ParkedHeaders"),
            "payload": {},
        },
        "reply": _message(
            "What became of a message; carries its `correlation_id`.", _schema("Reply")
        ),
    }


def _message(summary: str, payload: Node, content_type: str = CONTENT_TYPE) -> Node:
    return {"summary": summary, "contentType": content_type, "payload": payload}


def _schema(name: str) -> Node:
    return {"$ref": _SCHEMAS.format(model=name)}


# -- schemas --------------------------------------------------------------------------------------


def _schemas() -> Node:
    schemas: Node = {}
    for model, mode in ((JobSpec, "validation"), (EventBody, "serialization")):
        schemas |= _of_model(model, mode)
    return schemas | {
        "EventHeaders": _headers(_event_headers(), optional=("ce-dueqattempt",)),
        "JobCloudEvent": _job_event(),
        "AcceptedJob": _accepted_job(),
        "DelayHeaders": _delay_headers(),
        "ParkedHeaders": _headers(_parked_headers(), optional=("dueq-pointer",)),
        "Reply": _reply(),
    }


def _of_model(model: type[BaseModel], mode: Any) -> Node:
    schema = model.model_json_schema(ref_template=_SCHEMAS, mode=mode)
    return {**schema.pop("$defs", {}), model.__name__: schema}


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
    return {name: described.get(name, {"const": said}) for name, said in _EXAMPLE.headers.items()}


def _job_event() -> Node:
    attributes = dict.fromkeys(("id", "source", "type"), _TEXT)
    properties = {"specversion": {"const": "1.0"}, **attributes, "data": _schema("JobSpec")}
    text = "`source` and `id` together are the idempotency key."
    return {**_headers(properties), "description": text}


def _accepted_job() -> Node:
    properties: Node = {
        "id": _UUID,
        "accepted_at": _TIME,
        "spec": _schema("JobSpec"),
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
