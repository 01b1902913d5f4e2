"""`python -m infra.local DIR`: the private servers alone, until SIGINT or SIGTERM.

What `DUEQ_AMQP_URL`, `DUEQ_MONGO_URL`, `DUEQ_REDIS_URL` give is not started. Progress goes to
stderr, then one line of JSON with the URLs to stdout.
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

from infra.local.servers import DataDirInUse, LocalServers, ServerFailed, Urls


async def main(data_dir: Path) -> None:
    life = asyncio.create_task(run(data_dir))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, life.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await life


async def run(data_dir: Path) -> None:
    given = Urls(*(os.environ.get(f"DUEQ_{kind}_URL") for kind in ("AMQP", "MONGO", "REDIS")))
    servers = LocalServers(data_dir, given)
    await servers.start(lambda progress: say(progress, sys.stderr))
    try:
        say(json.dumps(asdict(servers.urls) | {"processes": servers.processes}), sys.stdout)
        await servers.watch()
    finally:
        await servers.stop()


def say(line: str, stream: TextIO) -> None:
    stream.write(line + "\n")
    stream.flush()


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except (DataDirInUse, ServerFailed) as failure:
        sys.exit(str(failure))
