"""What every part of the API's description is made of: shapes, answers, refusals."""

from typing import Any

Schema = dict[str, Any]
REF = "#/components/schemas/{model}"
JOB_ID = "019adb2e-9a10-7000-8000-1b2c3d4e5f60"
INT64 = 2**63
_TITLES = {
    "403": ("Forbidden", "Origin is another site's"),
    "404": ("Not Found", f"there is no job {JOB_ID}"),
    "409": ("Conflict", f"job {JOB_ID} is running"),
    "412": ("Precondition Failed", "it is not what `If-Match` names"),
    "413": ("Request Entity Too Large", "a request may have 16777216 bytes at most"),
    "415": ("Unsupported Media Type", "compressed bodies are not accepted"),
    "422": ("Unprocessable Entity", "/limit: must be 1000 at most"),
    "429": ("Too Many Requests", "worker 'shell-1' runs 1 at a time"),
    "503": ("Service Unavailable", "MongoDB is unavailable: …"),
}
_FLAW = {"pointer": "/limit", "detail": "must be 1000 at most"}
KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "The same key and the same body again is the same thing, made once.",
}


def tell(
    operation: Schema,
    status: str,
    answer: Schema,
    refusals: str,
    body: Schema | None = None,
    headers: list[Schema] | None = None,
) -> None:
    """Complete an operation in place; the answers that FastAPI has guessed are dropped."""
    told = {each: _refused(each) for each in refusals.split()}
    operation["responses"] = {status: answer, **told}
    if body is not None:
        operation["requestBody"] = body
    if headers:
        operation["parameters"] = [*operation.get("parameters", []), *headers]


def narrow(operation: Schema, name: str, **more: Any) -> None:
    """Say more of a parameter."""
    for each in operation["parameters"]:
        if each["name"] == name:
            each["schema"] |= more


def ok(model: str, example: Any, *, tag: str | None = None) -> Schema:
    """An answer of this shape; `tag` tells what its `ETag` is."""
    content = {"application/json": {"schema": ref(model), "example": example}}
    answer: Schema = {"description": "As asked.", "content": content}
    if tag is not None:
        answer["headers"] = {"ETag": {"schema": {"type": "string"}, "description": tag}}
    return answer


def _refused(status: str) -> Schema:
    """A problem with this status."""
    title, detail = _TITLES[status]
    example: Schema = {
        "type": "about:blank",
        "title": title,
        "status": int(status),
        "detail": detail,
    }
    if status == "422":
        example["errors"] = [_FLAW]
    content = {"application/problem+json": {"schema": ref("Problem"), "example": example}}
    return {"description": title, "content": content}


def takes(models: dict[str, str], example: Any) -> Schema:
    """A body, by media type."""
    return {
        "required": True,
        "content": {
            media: {"schema": ref(model), "example": example} for media, model in models.items()
        },
    }


def patch_of(spec: Schema, what: str) -> Schema:
    """Null removes a field, also of an object inside; so nothing is said of what a field may be."""
    return {
        "type": "object",
        "description": f"A JSON Merge Patch (RFC 7396) {what}.",
        "properties": {name: {} for name in spec["properties"]},
        "additionalProperties": {"type": "null"},
    }


def ref(model: str) -> Schema:
    """A shape that has a name."""
    return {"$ref": REF.format(model=model)}


def page(item: Schema, **more: Schema) -> Schema:
    """`{items, next_cursor}`."""
    return obj(items=array(item), next_cursor=maybe({"type": "string"}), **more)


def obj(**members: Schema) -> Schema:
    """An object that has all these members, and perhaps more."""
    return {"type": "object", "properties": members, "required": list(members)}


def array(item: Schema) -> Schema:
    """Many of one shape."""
    return {"type": "array", "items": item}


def instant() -> Schema:
    """RFC 3339."""
    return {"type": "string", "format": "date-time"}


def maybe(schema: Schema) -> Schema:
    """This, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def bounded(schema: Any) -> None:
    """Say of every integer that it has 64 bits, in place."""
    if isinstance(schema, dict):
        if schema.get("type") == "integer":
            _bound(schema)
        for each in schema.values():
            bounded(each)
    elif isinstance(schema, list):
        for each in schema:
            bounded(each)


def _bound(schema: Schema) -> None:
    schema.setdefault("format", "int64")
    if not schema.keys() & {"maximum", "exclusiveMaximum"}:
        schema["maximum"] = INT64 - 1
    if not schema.keys() & {"minimum", "exclusiveMinimum"}:
        schema["minimum"] = -INT64
