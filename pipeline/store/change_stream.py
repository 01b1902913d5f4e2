"""Change events of MongoDB, and back: what is asked of the stream, and what comes out of it.

Every write to `jobs` is asked for, also one that moves no state: a job whose queue or due time was
changed has to be known as it is now. The payload is cut off on the server, except in a change of
the payload itself.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import Timestamp

from pipeline.domain.lifecycle import FIELDS, Change, Moment
from pipeline.store.connect import Document

_IN_SPEC = ("name", "tags")
_DIRECT = frozenset(FIELDS) - frozenset(_IN_SPEC)
_LASTING = frozenset({"queue", "kind", "created_at", "schedule_id", "priority"})
EVENT_FIELDS: Document = {**dict.fromkeys(sorted(_DIRECT), 1), "spec": dict.fromkeys(_IN_SPEC, 1)}
"""What of a job's document is told."""
_OPERATIONS = ["insert", "update", "replace", "invalidate"]


def pipeline_from(where: Document) -> Sequence[Document]:
    """The stages of the stream; `where` it begins, now if nothing is said."""
    return [
        {"$changeStream": where},
        {"$match": {"operationType": {"$in": _OPERATIONS}}},
        {
            "$project": {
                "operationType": 1,
                "clusterTime": 1,
                "wallTime": 1,
                "documentKey": 1,
                "updateDescription": {"updatedFields": 1, "removedFields": 1},
                "fullDocument": EVENT_FIELDS,
            }
        },
    ]


def to_change(document: Document) -> Change:
    """One change."""
    job_id, at = document["documentKey"]["_id"], document["wallTime"]
    moment = moment_of(document["clusterTime"])
    if document["operationType"] != "update":
        return Change(job_id, moment, at, flat(document["fullDocument"]), whole=True)
    description = document["updateDescription"]
    removed = [name.removeprefix("spec.") for name in description.get("removedFields", ())]
    fields = _updated(description["updatedFields"])
    if "spec" in description["updatedFields"]:
        removed += [name for name in _IN_SPEC if name not in fields]
    return Change(job_id, moment, at, fields, removed)


def flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """The told fields of a job's document, those of its spec beside the others."""
    found = {name: value for name, value in document.items() if name in _DIRECT}
    if spec := document.get("spec"):
        found |= {name: spec[name] for name in _IN_SPEC if name in spec}
    return found


def lasting(document: Mapping[str, Any]) -> dict[str, Any]:
    """Those of them that a job hardly ever changes."""
    return {
        name: value
        for name, value in flat(document).items()
        if name in _LASTING or name in _IN_SPEC
    }


def moment_of(time: Timestamp) -> Moment:
    """A cluster time."""
    return Moment(time.time, time.inc)


def just_before(moment: Moment) -> Timestamp:
    """The last cluster time before it; places count from 1."""
    return Timestamp(moment.second, moment.place - 1)


def as_moment(instant: datetime) -> Moment:
    """The first moment of the second of `instant`."""
    return Moment(int(instant.timestamp()), 0)


def _updated(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of an update: whole fields, and single ones of the spec by their path."""
    found = flat(fields)
    for name in _IN_SPEC:
        if f"spec.{name}" in fields:
            found[name] = fields[f"spec.{name}"]
    return found
