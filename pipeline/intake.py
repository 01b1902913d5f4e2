"""What a message says: bytes → submissions, each good or bad for itself (R3).

Two kinds of message arrive at the submit queue: the gateway's own, whose jobs have an identity, and
anybody's, one job or an array of jobs, which get theirs here. Pure: whoever calls brings the clock
and the ids.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from pipeline.domain.body import (
    MAX_JOB_BYTES,
    MAX_REQUEST_BYTES,
    MAX_REQUEST_JOBS,
    check_value,
    parse_json,
    read_spec,
)
from pipeline.domain.envelope import ACCEPTED_KEY, MAX_BYTES, read_accepted
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.identity import id_of_element, id_of_key
from pipeline.domain.job import JobSpec, Submission
from pipeline.ports import Chance, Delivery


@dataclass(frozen=True, slots=True)
class Good:
    """A job that may be stored: element `index` of its delivery."""

    delivery: Delivery
    index: int
    submission: Submission


@dataclass(frozen=True, slots=True)
class Bad:
    """A job, or a whole message, that can never be: `body` is what is parked."""

    delivery: Delivery
    index: int
    body: bytes
    error: Rejected


Read = Good | Bad


def read_delivery(delivery: Delivery, now: datetime, chance: Chance) -> Sequence[Read]:
    """Every job of a message, in order; they get `now` and fresh ids where they need them."""
    try:
        _check_message(len(delivery.body))
        value = parse_json(delivery.body)
        _check_count(value)
    except Rejected as error:
        return [Bad(delivery, 0, delivery.body, error)]
    if delivery.routing_key == ACCEPTED_KEY:
        return list(_read_elements(delivery, value, _read_own, MAX_BYTES))

    def stamp(element: Any, index: int | None) -> Submission:
        return _read_foreign(element, index, delivery, now, chance)

    return list(_read_elements(delivery, value, stamp, MAX_JOB_BYTES))


def _check_message(size: int) -> None:
    """As over HTTP: what is too large to be read in one piece is parked in one piece."""
    if size > MAX_REQUEST_BYTES:
        text = f"a message of {size} bytes; {MAX_REQUEST_BYTES} are allowed"
        raise Rejected("too_large", Flaw("", text))


def _check_count(value: Any) -> None:
    if isinstance(value, list) and len(value) > MAX_REQUEST_JOBS:
        text = f"an array of {len(value)} jobs; {MAX_REQUEST_JOBS} are allowed"
        raise Rejected("too_large", Flaw("", text))


def _read_elements(
    delivery: Delivery, value: Any, read: Callable[[Any, int | None], Submission], most: int
) -> Iterator[Read]:
    """A lone job has no index in its identity; the elements of an array have.

    Each is judged as it would be alone: one that is nested too deep or too large (`most` bytes)
    costs only itself. The gateway's own jobs it has measured already, as they were written; here
    they stand in an envelope and some numbers have grown (`1e15`).
    """
    elements = value if isinstance(value, list) else [value]
    for index, element in enumerate(elements):
        try:
            submission = read(element, index if isinstance(value, list) else None)
            _check_size(delivery, element, most)
        except Rejected as error:
            body = to_json(element) if isinstance(value, list) else delivery.body
            yield Bad(delivery, index, body, error)
        else:
            yield Good(delivery, index, submission)


def _read_own(element: Any, _index: int | None) -> Submission:
    return read_accepted(element)


def _read_foreign(
    element: Any, index: int | None, delivery: Delivery, now: datetime, chance: Chance
) -> Submission:
    check_value(element)
    spec = read_spec(element)
    job_id = _derived_id(spec, index, delivery.message_id or None)
    return Submission(
        id=job_id or chance.job_id(),
        accepted_at=now,
        spec=spec,
        body=element,
        keyed=job_id is not None,
    )


def _derived_id(spec: JobSpec, index: int | None, message_id: str | None) -> str | None:
    """Of a lone job `message_id` is the key; of an array it names the elements without one."""
    key = spec.idempotency_key
    if key is not None:
        if index is None and message_id not in (None, key):
            raise Rejected(
                "invalid", Flaw("/idempotency_key", "differs from the message_id of the message")
            )
        return id_of_key(key)
    if message_id is None:
        return None
    return id_of_key(message_id) if index is None else id_of_element(message_id, index)


def _check_size(delivery: Delivery, element: Any, most: int) -> None:
    if len(delivery.body) <= most:
        return
    size = len(to_json(element))
    if size > most:
        raise Rejected("too_large", Flaw("", f"a job of {size} bytes; {most} are allowed"))
