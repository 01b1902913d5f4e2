"""The AMQP side as an AsyncAPI 3.0 document, made from what the code itself goes by.

Names and arguments come from the topology, jobs from `JobSpec`, events from `EventBody` and from a
`JobEvent`. Seen from DueQ, as AsyncAPI wants it: what it receives others send.
"""

from infra.asyncapi_schemas import EXAMPLE, Node, schema, schemas
from pipeline.broker.topology import EVENTS, EXCHANGES, JOBS, PARKED, PARKED_QUEUE, SUBMIT_QUEUE
from pipeline.domain.body import MAX_JOB_BYTES, MAX_REQUEST_JOBS
from pipeline.domain.cloudevents import STRUCTURED
from pipeline.domain.delayed import DELAY_EXCHANGE, MAX_DELAYED_BYTES
from pipeline.domain.envelope import ACCEPTED_KEY, MAX_JOBS, SUBMIT_KEY
from pipeline.domain.job import NAME
from pipeline.domain.lifecycle import CONTENT_TYPE
from pipeline.domain.states import State
from pipeline.stats import dueq_version

_BINDING = "0.3.0"


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
        "components": {"messages": _messages(), "schemas": schemas()},
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
    return _messages_in() | _messages_out()


def _messages_in() -> Node:
    return {
        "job": _message(
            "One job. `message_id`, if set, is its idempotency key; `reply_to` is answered. "
            "With CloudEvents headers (`ce-…`) source and id are the key.",
            schema("JobSpec"),
        ),
        "jobs": _message(
            f"Up to {MAX_REQUEST_JOBS:,} jobs of up to {MAX_JOB_BYTES // 1024} KiB; element i has "
            "the key `<message_id>/<i>`.",
            {"type": "array", "items": schema("JobSpec"), "maxItems": MAX_REQUEST_JOBS},
        ),
        "jobEvent": _message(
            "A job as structured CloudEvent.", schema("JobCloudEvent"), content_type=STRUCTURED
        ),
        "accepted": _message(
            "Jobs that have an identity.",
            {"type": "array", "items": schema("AcceptedJob"), "maxItems": MAX_JOBS},
        ),
        "delayed": {
            "summary": "Any message; published as it is, byte for byte, when it is due.",
            "contentType": "application/octet-stream",
            "headers": schema("DelayHeaders"),
            "payload": {"type": "string", "format": "binary", "maxLength": MAX_DELAYED_BYTES},
        },
    }


def _messages_out() -> Node:
    return {
        "event": {
            **_message("A state change of a job.", schema("EventBody")),
            "headers": schema("EventHeaders"),
            "examples": [
                {
                    "headers": EXAMPLE.headers,
                    "payload": EXAMPLE.body.model_dump(mode="json"),
                }
            ],
        },
        "parked": {
            "summary": "The message as it came; of an array its bad elements.",
            "headers": schema("ParkedHeaders"),
            "payload": {},
        },
        "reply": _message(
            "What became of a message; carries its `correlation_id`.", schema("Reply")
        ),
    }


def _message(summary: str, payload: Node, content_type: str = CONTENT_TYPE) -> Node:
    return {"summary": summary, "contentType": content_type, "payload": payload}
