"""Secrets by name. What is stored says which secret is meant, never what it is.

A worker looks the name up when it runs the job; nobody else ever does.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

SECRET_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"  # noqa: S105 - the shape of a name
HIDDEN = "[redacted]"
"""What is shown in place of a secret."""

_SENSITIVE = re.compile(
    r"authorization|authentication-info|(api|auth)-?key|cookie|token|secret|passw|credential|session"
    r"|signature",
    re.IGNORECASE,
)


class SecretRef(BaseModel):
    """`{"secret": "NAME"}`: what the worker knows under this name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret: Annotated[str, Field(pattern=SECRET_NAME)]

    @model_validator(mode="before")
    @classmethod
    def _is_a_reference(cls, value: Any) -> Any:
        if not isinstance(value, dict | SecretRef):
            raise ValueError('must be {"secret": "NAME"}: the worker knows what it is')
        return value


def is_sensitive(header: str) -> bool:
    """Whether what stands in a header of this name is nobody else's business."""
    return _SENSITIVE.search(header) is not None


def shown_job(body: dict[str, Any]) -> dict[str, Any]:
    """A job as it was asked for, without what stands in sensitive headers of its request, or in
    sensitive variables of its command.

    References to secrets stay: a name is no secret.
    """
    shown = body
    for field, part in (("http", "headers"), ("command", "env")):
        asked = body.get(field)
        named: dict[str, Any] = (asked.get(part) or {}) if isinstance(asked, dict) else {}
        if any(map(is_sensitive, named)):
            shown = shown | {field: body[field] | {part: _shown_values(named)}}
    return shown


def _shown_values(named: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: HIDDEN if isinstance(value, str) and is_sensitive(name) else value
        for name, value in named.items()
    }
