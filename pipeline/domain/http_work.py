"""What an http job asks for: one request, how long it may take, and what counts as success.

Credentials are references to named secrets (`SecretRef`), so that none is ever stored.
"""

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    Strict,
    field_validator,
    model_validator,
)

from pipeline.domain.secret import HIDDEN, SecretRef
from pipeline.domain.text import Base64

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_RETRYABLE_4XX = frozenset({408, 425, 429})
FRAMING = frozenset(
    {"connection", "content-length", "host", "transfer-encoding", "upgrade", "te", "trailer",
     "keep-alive", "proxy-authorization", "proxy-connection"}
)  # fmt: skip
"""Headers that say where a message goes and ends: set by the client library alone."""


def _is_header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError(f"{value[:40]!r} is not a header name")
    if value.lower() in FRAMING:
        raise ValueError(f"the header {value!r} frames the message: it is not yours to set")
    return value


def _is_user_name(value: str) -> str:
    if ":" in value or _CONTROL.search(value):
        raise ValueError("must not contain a colon or control characters")
    return value


Seconds = Annotated[FiniteFloat, Strict(), Field(gt=0, le=30 * 86_400)]
Statuses = Annotated[list[Annotated[str, Field(pattern=r"^[1-5](xx|\d\d)$")]], Field(max_length=20)]
Scalar = str | Annotated[int, Strict()] | Annotated[FiniteFloat, Strict()]
Fields = Annotated[
    dict[str, Scalar | Annotated[list[Scalar], Field(max_length=100)]], Field(max_length=100)
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BasicCredentials(_Part):
    """A user name and the secret that is its password."""

    username: Annotated[str, Field(max_length=255), AfterValidator(_is_user_name)] = ""
    password: SecretRef


class SecretHeader(_Part):
    """A header of any name whose value is a secret."""

    name: Annotated[str, AfterValidator(_is_header_name)]
    value: SecretRef


class HttpAuth(_Part):
    """One of: `basic` (RFC 7617), `bearer` (RFC 6750), `header` of the receiver's own choice."""

    basic: BasicCredentials | None = None
    bearer: SecretRef | None = None
    header: SecretHeader | None = None

    @property
    def header_name(self) -> str:
        """The header that it fills."""
        return self.header.name if self.header else "Authorization"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if [self.basic, self.bearer, self.header].count(None) != 2:
            raise ValueError("auth is one of basic, bearer and header")
        return self


class HttpWork(_Part):
    """Call a URL. A string body is sent as it is, anything else as JSON.

    `form` (a URL-encoded form) and `body_base64` (bytes) are the other bodies. `query` is added to
    the query of the URL. `timeout` is for all of it, redirects and reading the answer included;
    `connect_timeout` for each connection. `redirects` says how many are followed. `signature` names
    the secret of a Standard Webhooks signature.
    """

    url: Annotated[str, Field(min_length=1, max_length=8192)]
    method: Annotated[str, Field(pattern=r"^[A-Z]{1,16}$")] = "GET"
    query: Fields = {}
    headers: Annotated[dict[str, str | SecretRef], Field(max_length=100)] = {}
    body: Any = None
    body_base64: Base64 | None = None
    form: Fields | None = None
    auth: HttpAuth | None = None
    signature: SecretRef | None = None
    timeout: Seconds = 10.0
    connect_timeout: Seconds | None = None
    redirects: Annotated[int, Strict(), Field(ge=0, le=20)] = 0
    success: Annotated[Statuses, Field(min_length=1)] = ["2xx"]
    not_retryable: Statuses | None = None

    def is_success(self, status: int) -> bool:
        """Whether the job succeeds by this answer."""
        return _names(self.success, status)

    def is_retryable(self, status: int) -> bool:
        """Whether another attempt makes sense after this answer, which was no success.

        Unless the job says otherwise, a 4xx is for good: it is the request that is wrong. Not so
        408, 425 and 429, which say "later".
        """
        if self.not_retryable is None:
            return status // 100 != 4 or status in _RETRYABLE_4XX
        return not _names(self.not_retryable, status)

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https URL with a host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must not contain a user name or password")
        if re.search(r"[\x00-\x20\x7f]", value):
            raise ValueError("must not contain blanks or control characters")
        _ = parts.port
        return value

    @field_validator("method")
    @classmethod
    def _is_no_tunnel(cls, value: str) -> str:
        if value == "CONNECT":
            raise ValueError("CONNECT opens a tunnel, it is no request")
        return value

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, value: dict[str, str | SecretRef]) -> dict[str, str | SecretRef]:
        seen: set[str] = set()
        for name, content in value.items():
            _is_header_name(name)
            if name.lower() in seen:
                raise ValueError(f"{name!r} is there twice, in capitals and not: only one is sent")
            seen.add(name.lower())
            if isinstance(content, str) and _CONTROL.search(content):
                raise ValueError(f"the value of {name!r} contains a control character")
            if content == HIDDEN:
                raise ValueError(f"the value of {name!r} is what is shown in place of the real one")
        return value

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        bodies = [name for name in ("body", "body_base64", "form") if self._has(name)]
        if len(bodies) > 1:
            raise ValueError(f"a request has one body, not {len(bodies)}: {', '.join(bodies)}")
        own = self.auth.header_name if self.auth else None
        if own and any(name.lower() == own.lower() for name in self.headers):
            raise ValueError(f"auth and the header {own} exclude each other")
        return self

    def _has(self, name: Literal["body", "body_base64", "form"]) -> bool:
        return getattr(self, name) is not None


def _names(statuses: list[str], status: int) -> bool:
    return str(status) in statuses or f"{status // 100}xx" in statuses
