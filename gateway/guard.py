"""What is refused by its headers alone, before a route sees it. Plain ASGI: one look per request.

On loopback the browser is the danger: a web page can send requests to localhost. A `Host` that is
not this machine's (DNS rebinding) and an `Origin` that is not our own are 403, so no page submits
jobs behind its reader's back. A body is JSON or NDJSON, as it is: anything else is 415.
"""

from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.problems import problem

JSON = b"application/json"
MERGE_PATCH = b"application/merge-patch+json"
NDJSON = (b"application/x-ndjson", b"application/ndjson", b"application/jsonl")


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, bind_is_loopback: bool, request_bytes: int) -> None:
        self._app = app
        self._loopback = bind_is_loopback
        self._request_bytes = request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] == "http":
            refusal = self._refusal(scope["method"], dict(scope["headers"]))
            if refusal is not None:
                status, detail = refusal
                # The body is left unread, so the connection cannot be used again.
                answer = problem(status, detail, headers={"Connection": "close"})
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: dict[bytes, bytes]) -> tuple[HTTPStatus, str] | None:
        if self._loopback:
            host, origin = headers.get(b"host"), headers.get(b"origin")
            if host is not None and not is_this_machine(host):
                return HTTPStatus.FORBIDDEN, "Host is neither localhost nor a loopback address"
            if origin is not None and not is_own_origin(origin, host):
                return HTTPStatus.FORBIDDEN, "Origin is another site's"
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            return self._body_refusal(method, headers)
        return None

    def _body_refusal(
        self, method: str, headers: dict[bytes, bytes]
    ) -> tuple[HTTPStatus, str] | None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._request_bytes:
            return _too_large(self._request_bytes)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not accepted"
        media = headers.get(b"content-type", b"")
        if not (is_json(media) or (method == "PATCH" and is_merge_patch(media))):
            return (
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "Content-Type must be application/json (or application/x-ndjson for a batch)",
            )
        return None


def _too_large(limit: int) -> tuple[HTTPStatus, str]:
    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {limit} bytes at most"


@lru_cache(maxsize=256)
def is_json(content_type: bytes) -> bool:
    """Whether it is a JSON or NDJSON media type, whatever its parameters."""
    media = content_type.partition(b";")[0].strip().lower()
    return media == JSON or media in NDJSON


@lru_cache(maxsize=256)
def is_merge_patch(content_type: bytes) -> bool:
    """Whether it is the media type of a change (RFC 7396); a change may also call itself JSON."""
    return content_type.partition(b";")[0].strip().lower() == MERGE_PATCH


@lru_cache(maxsize=256)
def is_ndjson(content_type: bytes) -> bool:
    """Whether it is the media type of a line a job."""
    return content_type.partition(b";")[0].strip().lower() in NDJSON


@lru_cache(maxsize=256)
def is_this_machine(host: bytes) -> bool:
    """Whether a `Host` header names localhost or a loopback address, with or without a port."""
    try:
        name = urlsplit(b"//" + host).hostname
        if name is None:
            return False
        if name in (b"localhost", b"localhost."):
            return True
        return ip_address(name.decode()).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def is_own_origin(origin: bytes, host: bytes | None) -> bool:
    """Whether a page of our own sent this: same host and port, seen from the browser."""
    return host is not None and origin.lower() in (b"http://" + host, b"https://" + host)
