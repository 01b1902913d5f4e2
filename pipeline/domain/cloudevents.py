"""CloudEvents 1.0 that carry jobs: `data` is the job, `source` and `id` together are its key.

Structured (`application/cloudevents+json`): the event is the body. Binary: the body is the data and
the attributes are headers `ce-<name>`, as the CloudEvents SDKs and Knative write them for AMQP
0-9-1; `cloudEvents:<name>` and `cloudEvents_<name>`, the names of the binding for AMQP 1.0, are
understood too. Only what is needed is read: extensions and optional attributes are nobody's fault.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.domain.body import parse_json
from pipeline.domain.errors import Flaw, Rejected

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_REQUIRED = ("specversion", "id", "source", "type")
_PREFIXES = ("ce-", "cloudEvents:", "cloudEvents_")
_JSON = re.compile(r"[^;]+/([^;]+\+)?json *(;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """What is read of an event; `pointer` leads from the body to the data. No key: a plain body."""

    key: str | None
    data: Any
    pointer: str


def media_type(content_type: str | None) -> str:
    """Without parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


def read_event(value: Any) -> CloudEvent:
    """A structured event; raises `Rejected` with pointers into it."""
    if not isinstance(value, dict):
        raise Rejected("invalid", Flaw("", "a CloudEvent is a JSON object"))
    flaws = [Flaw(f"/{name}", text) for name, text in _faults(value)]
    if not _is_json(value.get("datacontenttype")):
        flaws.append(Flaw("/datacontenttype", "a job is JSON: application/json, or nothing"))
    if ("data" in value) == ("data_base64" in value):
        flaws.append(Flaw("/data", "is the job, and there is one: data or data_base64"))
    if flaws:
        raise Rejected("invalid", *flaws)
    key = _key(value["source"], value["id"])
    if "data" in value:
        return CloudEvent(key, value["data"], "/data")
    return CloudEvent(key, _decoded(value["data_base64"]), "/data_base64")


def binary_attributes(headers: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Name → (header, value) of the required attributes; empty: this is no CloudEvent."""
    found = {}
    for header, value in headers.items():
        for prefix in _PREFIXES:
            name = header[len(prefix) :].lower()
            if header.lower().startswith(prefix.lower()) and name in _REQUIRED:
                found[name] = (header, value)
    return found


def key_of_binary(attributes: Mapping[str, tuple[str, Any]]) -> str:
    """The key of a binary event; raises `Rejected` with pointers to its headers."""
    values = {name: value for name, (_, value) in attributes.items()}
    flaws = [
        Flaw(f"/headers/{attributes[name][0] if name in attributes else f'ce-{name}'}", text)
        for name, text in _faults(values)
    ]
    if flaws:
        raise Rejected("invalid", *flaws)
    return _key(values["source"], values["id"])


def _faults(attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(attribute, what is wrong with it) of the required ones."""
    for name in _REQUIRED:
        value = attributes.get(name)
        if value is None:
            yield name, f"is missing: a CloudEvent has {name}"
        elif not isinstance(value, str) or not value:
            yield name, "must be text, and not empty"
        elif name == "specversion" and value != "1.0":
            yield name, "must be 1.0: no other version is understood"
        elif name == "source" and re.search(r"\s", value):
            yield name, "must be a URI reference, without blanks"


def _key(source: str, id: str) -> str:
    """A source has no blanks, so no two events share a key that are not the same."""
    return f"{source} {id}"


def _is_json(media: Any) -> bool:
    return media is None or (isinstance(media, str) and _JSON.match(media) is not None)


def _decoded(text: Any) -> Any:
    try:
        return parse_json(base64.b64decode(text, validate=True))
    except (ValueError, TypeError):
        raise Rejected("invalid", Flaw("/data_base64", "must be base64")) from None
    except Rejected as error:
        raise Rejected(error.code, Flaw("/data_base64", error.flaws[0].detail)) from None
