"""`python -m infra.local DIR`: the private servers alone, until SIGINT or SIGTERM.

What `DUEQ_AMQP_URL`, `DUEQ_MONGO_URL`, `DUEQ_REDIS_URL` give is not started. Progress
goes to stderr, then one line of JSON with the URLs to stdout.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from infra.local.servers import LocalServers, Urls


async def run(data_dir: Path) -> None:
    given = Urls(*(os.environ.get(f"DUEQ_{kind}_URL") for kind in ("AMQP", "MONGO", "REDIS")))
    servers = LocalServers(data_dir, given)
    await servers.start(lambda progress: say(progress, sys.stderr))
    watch = asyncio.create_task(servers.watch())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, watch.cancel)
    say(json.dumps(asdict(servers.urls) | {"processes": servers.processes}), sys.stdout)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await watch
    finally:
        await servers.stop()


def say(line: str, stream: TextIO) -> None:
    stream.write(line + "\n")
    stream.flush()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
