"""The bytes of a request, counted while they arrive: nobody makes us hold more than the limit."""

from http import HTTPStatus
from typing import Any

from starlette.requests import Request

from gateway.guard import is_ndjson
from gateway.problems import Refused
from pipeline.domain.body import read_json


async def read_json_body(request: Request, limit: int, what: str) -> Any:
    """The JSON value of the body; raises `Rejected`, `Refused`. Only a batch is a line a job."""
    if is_ndjson(request.headers.get("content-type", "").encode()):
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{what} is one JSON value, not NDJSON")
    return read_json(await read_body(request, limit, what))


async def read_body(request: Request, limit: int, what: str) -> bytes:
    """The whole body; raises `Refused` (413, naming `what`) as soon as it is over the limit."""
    receive = request.receive
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        _check(len(body), limit, what)
        return body
    parts: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        part = message.get("body", b"")
        size += len(part)
        _check(size, limit, what)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise Refused(HTTPStatus.BAD_REQUEST, "the client went away before the body was complete")


def _check(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{what} may have {limit} bytes at most")
