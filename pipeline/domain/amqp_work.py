"""What an amqp job asks for: one message, whole, and the broker that it goes to.

The broker is the one that DueQ runs on, unless a named secret is the URL of another one: what is
stored says which secret, never which broker. DueQ's own exchanges and queues are no target on any
broker, since a secret may name the one that DueQ runs on.
"""

from base64 import b64decode
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    field_validator,
    model_validator,
)

from pipeline.domain.properties import check_properties, properties_from_json, read_headers
from pipeline.domain.secret import SecretRef
from pipeline.domain.text import Base64, Text


def _fits_amqp(value: str) -> str:
    if len(value.encode()) > 255:
        raise ValueError("must not be longer than 255 bytes in UTF-8")
    return value


ShortString = Annotated[Text, AfterValidator(_fits_amqp)]
Octet = Annotated[int, Strict(), Field(ge=0, le=255)]

_COPIES = ("CC", "BCC")
"""Headers that name further routing keys, to RabbitMQ."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AmqpProperties(_Part):
    """The properties of a message. `user_id` is missing: the broker takes none but our own."""

    content_type: ShortString | None = None
    content_encoding: ShortString | None = None
    delivery_mode: Octet | None = None
    priority: Octet | None = None
    correlation_id: ShortString | None = None
    reply_to: ShortString | None = None
    expiration: ShortString | None = None
    message_id: ShortString | None = None
    timestamp: Annotated[int, Strict(), Field(ge=0, lt=2**63)] | None = None
    type: ShortString | None = None
    app_id: ShortString | None = None
    cluster_id: ShortString | None = None


class AmqpWork(_Part):
    """Publish a message to the default broker, or to the one whose URL is the secret `url`.

    `body`: a string is sent as it is, anything else as JSON; or `body_base64`: bytes; without
    either the message is empty. `headers` are JSON, and `{"!int32": 5}` and the like for the types
    that JSON does not know. Unless it is `verbatim`, the message is persistent, carries the job's
    id as `message_id` and the DueQ headers; `properties` goes before. A `verbatim` message is
    nothing but what stands here; `properties_base64` then holds properties and headers that JSON
    cannot.
    """

    url: SecretRef | None = None
    exchange: ShortString = ""
    routing_key: ShortString = ""
    body: Any = None
    body_base64: Base64 | None = None
    headers: Annotated[dict[ShortString, Any], Field(max_length=100)] = {}
    properties: AmqpProperties = AmqpProperties()
    verbatim: Annotated[bool, Strict()] = False
    properties_base64: Base64 | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it has no body; `null` is one."""
        return "body" not in self.model_fields_set and self.body_base64 is None

    @property
    def is_plain(self) -> bool:
        """Whether all its properties are ours, and no header is one that a broker may refuse."""
        is_ours = not self.verbatim and self.properties == AmqpProperties()
        return is_ours and self.headers.keys().isdisjoint(_COPIES)

    def raw_properties(self, usual: Mapping[str, Any], headers: Mapping[str, Any]) -> bytes:
        """The properties as they are sent; `usual` and `headers` are ours, if it has ours."""
        if self.properties_base64 is not None:
            return b64decode(self.properties_base64)
        asked = self.properties.model_dump(exclude_none=True)
        if self.verbatim:
            return properties_from_json(asked, self.headers)
        return properties_from_json({**usual, **asked}, {**self.headers, **headers})

    @field_validator("headers")
    @classmethod
    def _headers_fit_the_protocol(cls, value: dict[str, Any]) -> dict[str, Any]:
        properties_from_json({}, value)
        return value

    @field_validator("properties_base64")
    @classmethod
    def _properties_are_readable(cls, value: str | None) -> str | None:
        if value is not None:
            check_properties(b64decode(value))
        return value

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.body_base64 is not None and self.body is not None:
            raise ValueError("body and body_base64 exclude each other")
        if self.properties_base64 is not None and not self._is_raw():
            raise ValueError("properties_base64 goes with verbatim, without properties and headers")
        if is_our_own(self.exchange, self.routing_key):
            raise ValueError("DueQ's own exchanges and queues are not a target")
        if not self.exchange and any(is_our_own("", key) for key in self._copies()):
            raise ValueError("DueQ's own queues are not a target, in CC and BCC neither")
        return self

    def _is_raw(self) -> bool:
        return self.verbatim and not self.headers and self.properties == AmqpProperties()

    def _copies(self) -> list[str]:
        """The routing keys that the headers CC and BCC add."""
        headers = read_headers(self.raw_properties({}, {}))
        return [key for name, value in headers if name in _COPIES for key in _texts(value)]


def is_our_own(exchange: str, routing_key: str) -> bool:
    """Whether a message published so would come back to DueQ by another door.

    Nobody but DueQ may have names that begin so: it makes more of them as it grows.
    """
    return (exchange or routing_key).startswith("dueq.")


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
