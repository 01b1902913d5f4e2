"""Everything that goes wrong, as `application/problem+json` (RFC 9457).

One shape for our own errors and the framework's: `type`, `title`, `status`, `detail`, and for bad
input `errors: [{pointer, detail}]` with RFC 6901 pointers into the body (or `/<parameter>`).
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from pipeline.domain.body import sentence
from pipeline.domain.errors import (
    Conflict,
    DueQError,
    Flaw,
    NotFound,
    Outdated,
    Rejected,
    Unavailable,
)
from pipeline.telemetry import log

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "1"
_REFUSING = "only_posted"
_log = log(__name__)


class Refused(Exception):
    """The request is refused for its form, before anybody looks at the job in it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem(
    status: int,
    detail: str,
    *,
    flaws: Sequence[Flaw] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem as a response; `more` are extension members."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **more,
    }
    if flaws:
        body["errors"] = [render_flaw(flaw) for flaw in flaws]
    return Response(_dump(body), status, headers=headers, media_type=MEDIA_TYPE)


def render_flaw(flaw: Flaw) -> dict[str, str]:
    """One thing wrong, as it stands in `errors`."""
    return {"pointer": flaw.pointer, "detail": flaw.detail}


def _dump(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # a lone surrogate in what the user wrote, quoted back
        text = repr(body["detail"])
        return orjson.dumps({**body, "detail": text, "errors": [{"pointer": "", "detail": text}]})


def problem_of(error: DueQError, **more: Any) -> Response:
    """Our own errors, by what the client can do about them."""
    match error:
        case Rejected(code="too_large"):
            return problem(413, str(error), flaws=error.flaws, code=error.code, **more)
        case Rejected(code="deleted"):
            return problem(409, str(error), flaws=error.flaws, code=error.code, **more)
        case Rejected():
            return problem(422, str(error), flaws=error.flaws, code=error.code, **more)
        case NotFound():
            return problem(404, str(error), **more)
        case Conflict():
            return problem(409, str(error), **more)
        case Outdated():
            return problem(412, str(error), **more)
        case Unavailable():
            headers = {"Retry-After": RETRY_SECONDS}
            return problem(503, str(error), headers=headers, server=error.server, **more)
        case _:
            return problem(500, "an error that has no better name", **more)


def refusal_of(refused: Refused) -> Response:
    """What is left of the body is not read, so the connection cannot be used again."""
    return problem(refused.status, refused.detail, headers={"Connection": "close"})


def install(app: FastAPI) -> None:
    """Answer every error of this application as a problem."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, DueQError)
        return problem_of(error)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return refusal_of(error)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(app, request.scope))
        return problem(error.status_code, error.detail, headers=headers)

    async def parameters(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        flaws = [_parameter_flaw(each) for each in error.errors()]
        return problem(422, "; ".join(f"{f.pointer}: {f.detail}" for f in flaws), flaws=flaws)

    async def unexpected(request: Request, error: Exception) -> Response:
        _log.error("request.failed", path=request.url.path, next="answered 500", exc_info=error)
        return problem(500, "an error of DueQ itself; its log tells more")

    app.add_exception_handler(DueQError, ours)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(Exception, unexpected)


def only_posted(app: FastAPI, paths: Iterable[str]) -> None:
    """Refuse every other method there, before a route of ids takes the last word for one."""

    async def not_allowed(_: Request) -> Response:
        raise HTTPException(405)

    for path in paths:
        app.add_route(path, not_allowed, methods=["DELETE", "GET", "PATCH"], name=_REFUSING)


def _allowed(app: FastAPI, scope: Scope) -> list[str]:
    """The methods of all routes of this path: the framework names those of the first alone."""
    return [
        method
        for method in ("DELETE", "GET", "PATCH", "POST")
        if _is_answered(app, {**scope, "method": method})
    ]


def _is_answered(app: FastAPI, scope: Scope) -> bool:
    """Whether the route that takes it does more than refuse it."""
    for route in app.router.routes:
        if route.matches(scope)[0] is Match.FULL:
            return getattr(route, "name", None) != _REFUSING
    return False


def _parameter_flaw(detail: Mapping[str, Any]) -> Flaw:
    location = [str(step) for step in detail["loc"][1:]]
    if detail["type"] == "extra_forbidden":
        return Flaw("/" + "/".join(location), "is not a parameter of this route")
    return Flaw("/" + "/".join(location), sentence(detail["msg"]))
