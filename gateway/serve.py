"""The gateway on a listening socket, until somebody says stop.

The entry point owns signals and the life of the ports. On stop the process is no longer ready,
takes no new connections, lets requests in flight end for `grace` seconds, then cuts them.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

KEEP_ALIVE_SECONDS = 90
"""An idle connection is kept for longer than a balancer keeps its own (75 s): who closes first may
close in the moment in which the next request comes, and that one is cut off without an answer."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: after its end uvicorn would raise the caught one again."""
        yield


async def serve(
    app: FastAPI, listening: socket.socket, stop: asyncio.Event, grace: float = 5.0
) -> None:
    """Serve `app` on `listening` until `stop` is set; returns when everything is closed."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    # asyncio sets this only on sockets made with an explicit protocol; without it an answer in two
    # writes waits 40 ms for the client's delayed acknowledgement. Connections inherit it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_stop(server, app, stop))
        try:
            await server.serve(sockets=[listening])
        finally:
            waiting.cancel()


async def _stop(server: uvicorn.Server, app: FastAPI, stop: asyncio.Event) -> None:
    await stop.wait()
    app.state.stopping = True
    server.should_exit = True
