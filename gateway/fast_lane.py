"""The short way to the hot routes: past the router and what surrounds it, which cost more than the
job. The same endpoints are also ordinary routes; only the way there differs, and errors are
answered the same.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.problems import Refused, problem_of, refusal_of
from pipeline.domain.errors import DueQError

Endpoint = Callable[[Request], Awaitable[Response]]


class FastLane:
    """ASGI middleware: POSTs to these paths go straight to their endpoint."""

    def __init__(self, app: ASGIApp, *, posts: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._posts = posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer here or pass on."""
        endpoint = None
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._posts.get(scope["path"])
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        response = await _answer(endpoint, Request(scope, receive))
        await response(scope, receive, send)


async def _answer(endpoint: Endpoint, request: Request) -> Response:
    try:
        return await endpoint(request)
    except DueQError as error:
        return problem_of(error)
    except Refused as refused:
        return refusal_of(refused)
