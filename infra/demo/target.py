"""What the demo's http job calls: a server of its own that writes down who came."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


class Target:
    """Visits by job id, as the `Idempotency-Key` header says it."""

    def __init__(self) -> None:
        self.visits: Counter[str] = Counter()
        self.url = ""

    async def visit(self, request: web.Request) -> web.Response:
        """One call."""
        self.visits[request.headers.get("Idempotency-Key", "")] += 1
        return web.json_response({"received": True})


@asynccontextmanager
async def serving() -> AsyncIterator[Target]:
    """A target on a free port of this machine."""
    target = Target()
    app = web.Application()
    app.router.add_post("/hook", target.visit)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        target.url = f"http://{host}:{port}/hook"
        yield target
    finally:
        await runner.cleanup()
