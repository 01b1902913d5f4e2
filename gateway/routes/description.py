"""What describes the interfaces: a page for people, and AMQP for programs.

(`/openapi.json`, HTTP for programs, is FastAPI's own.) Nothing is loaded from elsewhere.
"""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from gateway.api_page import POLICY, page
from gateway.deps import Deps
from gateway.rendering import json_response

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_page(request: Request) -> Response:
    """The HTTP API, to be read."""
    state = request.app.state
    if not hasattr(state, "api_page"):
        state.api_page = page(request.app.openapi())
    return HTMLResponse(state.api_page, headers={"Content-Security-Policy": POLICY})


@router.get("/asyncapi.json")
async def show_asyncapi(deps: Deps) -> Response:
    """The AMQP side."""
    return json_response(deps.asyncapi)
