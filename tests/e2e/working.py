"""Workers of a test's own beside a system, and jobs that wait for a word of the test."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.e2e.running import Up, clean_environment, command

TASKS = """
import asyncio, os, threading, time
from pathlib import Path
from pydantic import BaseModel
from workers import Context, task


class Work(BaseModel):
    folder: Path


def begin(payload, context):
    (payload.folder / f"pid-{context.attempt}").write_text(str(os.getpid()))


async def wait_for(payload, context):
    begin(payload, context)
    context.progress(0.5, "waiting")
    context.log("waiting for go")
    while not (payload.folder / "go").exists():
        await asyncio.sleep(0.02)
    return f"attempt {context.attempt}"


@task("coroutine")
async def coroutine(payload: Work, context: Context):
    return await wait_for(payload, context)


@task("thread")
def thread(payload: Work, context: Context):
    return asyncio.run(wait_for(payload, context))


@task("process", process=True)
async def process(payload: Work, context: Context):
    return await wait_for(payload, context)


@task("stubborn", timeout=0.2, retry={"max_attempts": 1})
async def stubborn(payload, context: Context):
    while True:
        try:
            await asyncio.sleep(600)
        except BaseException:
            context.log("not me")


@task("blocking", timeout=0.2)
async def blocking(payload, context: Context):
    time.sleep(600)


@task("parent")
async def parent(payload, context: Context):
    return await context.submit({"payload": payload})
"""

COMMAND = """
echo $$ >{0}/pid-$DUEQ_ATTEMPT
echo waiting for go
until test -e {0}/go; do sleep 0.02; done
echo attempt $DUEQ_ATTEMPT >>{0}/done
"""


@contextmanager
def worker(
    system: Up,
    folder: Path,
    queue: str,
    name: str,
    allow: str = "--allow-commands",
    **settings: str,
) -> Iterator["subprocess.Popen[bytes]"]:
    (folder / "mine.py").write_text(TASKS)
    urls = {
        f"DUEQ_{name.upper()}_URL": str(system.line[name]) for name in ("amqp", "mongo", "redis")
    }
    usual = {"DUEQ_HTTP_PORT": "0", "DUEQ_LEASE_SECONDS": "2"}
    environment = clean_environment(**usual | urls | settings)
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command("worker", "--queue", queue, "--import", "mine", allow),
            cwd=folder, env=environment, stderr=log,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def a_job(kind: str, queue: str, folder: Path) -> dict[str, Any]:
    asked: dict[str, Any] = {"queue": queue, "timeout": 60}
    if kind == "command":
        return asked | {"command": COMMAND.format(folder)}
    return asked | {"task": kind, "payload": {"folder": str(folder)}}


def submit(system: Up, job: dict[str, Any]) -> str:
    job_id: str = system.json("job", "submit", "--file", "-", stdin=json.dumps(job))["id"]
    return job_id


def get(system: Up, path: str) -> str:
    with urlopen(f"{system.http}/api/jobs/{path}", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def show(system: Up, job_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(get(system, job_id))
    return shown


def is_in(system: Up, job_id: str, status: str) -> bool:
    return bool(show(system, job_id)["status"] == status)
