"""The small HTTP server of ingest, watcher and worker: /livez, /readyz, /metrics, /stats.

`/livez`: the process runs. `/readyz`: it has set up everything and its servers answer now; each
is asked, and given a second. Read-only; it takes no jobs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from infra.roles.running import Process
from pipeline.domain.errors import DueQError
from pipeline.stats import Stats
from pipeline.telemetry import REGISTRY

_CHECK_SECONDS = 1.0


@asynccontextmanager
async def serving(process: Process) -> AsyncIterator[None]:
    """Serve the probes of a process while the body runs."""
    runner = web.AppRunner(_app(process), access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, process.bound, shutdown_timeout=1.0).start()
    try:
        yield
    finally:
        await runner.cleanup()


def _app(process: Process) -> web.Application:
    said = Stats(process.role, process.clock)

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        failures = await _failures(process)
        if failures:
            return web.json_response({"status": "not ready", "why": failures}, status=503)
        return web.json_response({"status": "ready"})

    async def metrics(_: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(REGISTRY), headers=headers)

    async def stats(_: web.Request) -> web.Response:
        return web.json_response(said.told(ready=process.is_ready))

    app = web.Application()
    for handler in (livez, readyz, metrics, stats):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


async def _failures(process: Process) -> dict[str, str]:
    """What stands against being ready, by server."""
    if not process.is_ready:
        return {"process": "starting or stopping"}
    failures: dict[str, str] = {}
    for server, check in process.checks.items():
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await check()
        except (DueQError, TimeoutError) as error:
            failures[server] = str(error) or "no answer in time"
    return failures
