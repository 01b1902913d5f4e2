"""Kinds of text that a job may hold, checked when it is asked for; and text made storable. Pure."""

from base64 import b64decode
from typing import Annotated

from pydantic import AfterValidator, Field


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain NUL")
    return value


def _is_base64(value: str) -> str:
    try:
        b64decode(value, validate=True)
    except ValueError:
        raise ValueError("must be base64") from None
    return value


Text = Annotated[str, AfterValidator(_without_nul)]
"""What a C string can hold."""
Word = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
"""The same, and something."""
Base64 = Annotated[str, AfterValidator(_is_base64)]
"""Bytes."""


def storable(text: str) -> str:
    """`text` as valid Unicode: lone surrogates cannot be stored."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
