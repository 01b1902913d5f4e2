"""The shapes of the API on its page for people: each with a name is a table, the rest are words."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Node = Mapping[str, Any]
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "pattern": "{}",
    "format": "{}",
}
_INT64 = (2**63 - 1, -(2**63), "int64")
"""What every integer has is no news."""


def shape(name: str, schema: Node) -> str:
    """One that has a name, as HTML with an anchor."""
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{' (always)' if field in required else ''}</td>"
        f"<td>{in_words(each)}</td><td>{escape(each.get('description', ''))}</td></tr>"
        for field, each in schema.get("properties", {}).items()
    )
    whole = f"<table>{rows}</table>" if rows else f"<p>{in_words(schema)}</p>"
    text = escape(schema.get("description", ""))
    return (
        f'<details id="shape-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<p>{text}</p>{whole}</details>"
    )


def in_words(schema: Node) -> str:
    """What a value has to be, as HTML."""
    default = schema.get("default")
    told = ", ".join((_kind(schema), *_bounds(schema)))
    return told if default is None else f"{told}; default {_code(default)}"


def _kind(schema: Node) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#shape-{name}">{name}</a>'
    for several in ("anyOf", "oneOf"):
        if several in schema and "properties" not in schema:
            return " or ".join(in_words(each) for each in schema[several])
    if "const" in schema:
        return _code(schema["const"])
    if "enum" in schema:
        return " | ".join(_code(each) for each in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {in_words(schema.get('items', {}))}"
    return escape(str(schema.get("type", "any value")))


def _bounds(schema: Node) -> Iterator[str]:
    for name, text in _BOUNDS.items():
        if name in schema and schema[name] not in _INT64:
            yield text.format(f"<code>{escape(str(schema[name]))}</code>")


def _code(value: object) -> str:
    return f"<code>{escape(json.dumps(value, ensure_ascii=False))}</code>"
