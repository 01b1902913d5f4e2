"""What a message says: bytes → submissions, each good or bad for itself (R3).

Three kinds of message arrive at the submit queue: the gateway's own, whose jobs have an identity;
anybody's, one job or an array of jobs, plain or in CloudEvents, which get theirs here; and messages
to be published later. Which it is, the exchange and the routing key say, and of jobs the content
type. Pure: whoever calls brings the clock and the ids.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from pipeline.domain import cloudevents
from pipeline.domain.body import (
    MAX_JOB_BYTES,
    MAX_REQUEST_BYTES,
    MAX_REQUEST_JOBS,
    check_value,
    parse_json,
    read_spec,
)
from pipeline.domain.cloudevents import CloudEvent, binary_attributes, key_of_binary, read_event
from pipeline.domain.delayed import DELAY_EXCHANGE, read_delayed
from pipeline.domain.envelope import ACCEPTED_KEY, MAX_BYTES, encode_element, read_accepted
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.fields import Unreadable
from pipeline.domain.identity import id_of_key
from pipeline.domain.job import JobSpec, Submission
from pipeline.domain.properties import read_headers, read_properties
from pipeline.ports import Chance, Delivery, Remains

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Good:
    """A job that may be stored: element `index` of its delivery, of which it `remains`."""

    delivery: Delivery
    index: int
    submission: Submission
    remains: Remains | None = None


@dataclass(frozen=True, slots=True)
class Bad:
    """A job, or a whole message, that can never be: `body` is what is parked."""

    delivery: Delivery
    index: int
    body: bytes
    error: Rejected
    remains: Remains | None = None


Read = Good | Bad


def parked(good: Good, error: Rejected) -> Bad:
    """One that the store will not have, as it came: the gateway's own with its id and key, which
    stand in no other place."""
    body = good.delivery.body
    if good.remains is not None:
        is_own = good.delivery.routing_key == ACCEPTED_KEY
        submission = good.submission
        body = encode_element(submission) if is_own else to_json(submission.body)
    return Bad(good.delivery, good.index, body, error, good.remains)


def wants_reply(delivery: Delivery) -> bool:
    """Of a delayed message `reply_to` is for who receives it in the end."""
    return bool(delivery.reply_to) and delivery.exchange != DELAY_EXCHANGE


def read_delivery(delivery: Delivery, now: datetime, chance: Chance) -> Sequence[Read]:
    """Every job of a message, in order; they get `now` and fresh ids where they need them."""
    try:
        if delivery.exchange == DELAY_EXCHANGE:
            return [_read_delayed(delivery, now, chance)]
        reads = list(_read_jobs(delivery, _Stamp(now, chance)))
        _check_somebody_knows(delivery, reads)
        return reads
    except Rejected as error:
        return [Bad(delivery, 0, delivery.body, error)]


def _check_somebody_knows(delivery: Delivery, reads: Sequence[Read]) -> None:
    """An array without jobs: who asked is answered that there were none; of a sender who did not,
    nobody would ever know, so it is parked."""
    if not reads and not wants_reply(delivery):
        raise Rejected("invalid", Flaw("", "an array without any job"))


def _read_delayed(delivery: Delivery, now: datetime, chance: Chance) -> Good:
    spec, body = read_delayed(delivery.body, delivery.routing_key, delivery.properties)
    return Good(delivery, 0, Submission(chance.job_id(), now, spec, body))


def _read_jobs(delivery: Delivery, stamp: "_Stamp") -> Iterator[Read]:
    """What is wrong with all of it is raised before the first; the rest costs only itself."""
    _check_message(delivery)
    value = parse_json(delivery.body)
    if delivery.routing_key == ACCEPTED_KEY:
        return _read_own(delivery, value)
    match cloudevents.media_type(delivery.content_type):
        case cloudevents.BATCH if isinstance(value, list):
            return _read_events(delivery, value, stamp)
        case cloudevents.BATCH | cloudevents.STRUCTURED:
            return _read_data(delivery, read_event(value), stamp)
        case _:
            return _read_data(delivery, _binary_event(delivery, value), stamp)


def _check_message(delivery: Delivery) -> None:
    """As over HTTP: what is too large to be read in one piece is parked in one piece."""
    size = len(delivery.body)
    if size > MAX_REQUEST_BYTES:
        text = f"a message of {size} bytes; {MAX_REQUEST_BYTES} are allowed"
        raise Rejected("too_large", Flaw("", text))
    if delivery.message_id is None and "message_id" in read_properties(delivery.properties):
        raise Rejected("malformed", Flaw("/properties/message_id", "is not UTF-8"))


def _binary_event(delivery: Delivery, value: Any) -> CloudEvent:
    """A body that is the data; without the headers of an event just a body."""
    try:
        attributes = binary_attributes(dict(read_headers(delivery.properties)))
    except Unreadable as error:
        raise Rejected("malformed", Flaw("/headers", str(error))) from None
    return CloudEvent(key_of_binary(attributes) if attributes else None, value, "")


def _elements(value: Any) -> list[Any]:
    elements = value if isinstance(value, list) else [value]
    if len(elements) > MAX_REQUEST_JOBS:
        text = f"an array of {len(elements)} jobs; {MAX_REQUEST_JOBS} are allowed"
        raise Rejected("too_large", Flaw("", text))
    return elements


def _read_own(delivery: Delivery, value: Any) -> Iterator[Read]:
    """The gateway has measured its jobs already, as they were written; here they stand in an
    envelope and some numbers have grown (`1e15`)."""
    remains = Remains(_JSON, None) if isinstance(value, list) else None
    for index, element in enumerate(_elements(value)):
        try:
            submission = read_accepted(element)
            _check_size(delivery, element, MAX_BYTES)
        except Rejected as error:
            yield Bad(delivery, index, _rest(delivery, element, remains), error, remains)
        else:
            yield Good(delivery, index, submission, remains)


def _read_data(delivery: Delivery, event: CloudEvent, stamp: "_Stamp") -> Iterator[Read]:
    """A lone job is parked as it came, event and all; an element of an array alone, under the name
    that it has in the array."""
    message_id = delivery.message_id or None
    of_all = message_id or event.key
    for index, element in enumerate(_elements(event.data)):
        remains, name = None, of_all
        if isinstance(event.data, list):
            name = None if of_all is None else f"{of_all}/{index}"
            remains = Remains(_JSON, None if _has_key(element) else name)
        try:
            submission = stamp.submission(element, name)
            _check_size(delivery, element, MAX_JOB_BYTES)
            if remains is None:
                _check_names_agree(submission.spec, message_id)
        except Rejected as error:
            told = error if remains else _moved(error, event.pointer)
            yield Bad(delivery, index, _rest(delivery, element, remains), told, remains)
        else:
            yield Good(delivery, index, submission, remains)


def _read_events(delivery: Delivery, value: Sequence[Any], stamp: "_Stamp") -> Iterator[Read]:
    """A batch: each event is one job, and parked as an event."""
    for index, element in enumerate(_elements(value)):
        name = f"{delivery.message_id}/{index}" if delivery.message_id else None
        try:
            event = read_event(element)
            with _pointing_to(event.pointer):
                submission = stamp.submission(event.data, name or event.key)
                _check_size(delivery, event.data, MAX_JOB_BYTES)
        except Rejected as error:
            remains = Remains(cloudevents.STRUCTURED, None if _carries_key(element) else name)
            yield Bad(delivery, index, to_json(element), error, remains)
        else:
            name = None if _has_key(event.data) else name or event.key
            yield Good(delivery, index, submission, Remains(_JSON, name))


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What jobs get here that bring no identity of their own."""

    now: datetime
    chance: Chance

    def submission(self, element: Any, name: str | None) -> Submission:
        """The job in `element`; its own key goes before `name`, and without both it gets an id."""
        check_value(element)
        spec = read_spec(element)
        key = spec.idempotency_key or name
        return Submission(
            id=self.chance.job_id() if key is None else id_of_key(key),
            accepted_at=self.now,
            spec=spec,
            body=element,
            keyed=key is not None,
        )


def _has_key(element: Any) -> bool:
    return isinstance(element, dict) and element.get("idempotency_key") is not None


def _carries_key(event: Any) -> bool:
    return isinstance(event, dict) and _has_key(event.get("data"))


def _check_names_agree(spec: JobSpec, message_id: str | None) -> None:
    """Of a lone job `message_id` is the key, so two of them must not name two jobs."""
    if spec.idempotency_key is not None and message_id not in (None, spec.idempotency_key):
        text = "differs from the message_id of the message"
        raise Rejected("invalid", Flaw("/idempotency_key", text))


def _check_size(delivery: Delivery, element: Any, most: int) -> None:
    if len(delivery.body) <= most:
        return
    size = len(to_json(element))
    if size > most:
        raise Rejected("too_large", Flaw("", f"a job of {size} bytes; {most} are allowed"))


def _rest(delivery: Delivery, element: Any, remains: Remains | None) -> bytes:
    """An element that is an array itself stays in an array: alone it would be read as a message of
    several jobs, and none of them is what was sent."""
    if remains is None:
        return delivery.body
    return to_json([element] if isinstance(element, list) else element)


@contextmanager
def _pointing_to(pointer: str) -> Iterator[None]:
    try:
        yield
    except Rejected as error:
        raise _moved(error, pointer) from None


def _moved(error: Rejected, pointer: str) -> Rejected:
    """The same with pointers from further out."""
    if not pointer:
        return error
    return Rejected(error.code, *(Flaw(pointer + f.pointer, f.detail) for f in error.flaws))
