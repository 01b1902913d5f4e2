"""The lines that people copy, as they stand; only the port is that of the system under test."""

import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.e2e.programs import require
from tests.e2e.running import ROOT, Up
from tests.support import eventually

SUBMIT = """curl -X POST http://localhost:8080/api/jobs -H "Content-Type: application/json" \
-d '{"payload": "test job"}'"""
SUBMIT_COMMAND = """curl -X POST http://localhost:8080/jobs -H "Content-Type: application/json" \
-d "{\\"name\\":\\"hello-job\\",\\"command\\":\\"echo 'Hello World'\\"}\""""
LIST = 'curl "http://localhost:8080/jobs?status=pending"'
SHOW = 'curl "http://localhost:8080/job?job_id={id}"'
STATS = {
    "watcher": "curl http://localhost:9001/stats",
    "worker": "curl http://localhost:7001/stats",
}
USUAL = {"gateway": 8080, "watcher": 9001, "worker": 7001}


def sh(system: Up, line: str) -> Any:
    """What a line prints, as JSON."""
    for role, port in USUAL.items():
        ours = system.processes(role)[0]["http"].removeprefix("http://127.0.0.1")
        line = line.replace(f":{port}/", f"{ours}/")
    assert shlex.split(line)[0] == "curl"
    require("curl")
    ran = subprocess.run(["sh", "-c", f"{line} -sS"], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


async def test_a_job_submitted_with_curl_runs_and_can_be_looked_at(system: Up) -> None:
    accepted = sh(system, SUBMIT)
    show = SHOW.format(id=accepted["id"])
    await eventually(lambda: sh(system, show)["status"] == "succeeded", timeout=60)
    assert sh(system, show)["result"] == "test job"


async def test_a_command_with_quotes_in_quotes_runs_and_its_output_is_kept(system: Up) -> None:
    accepted = sh(system, SUBMIT_COMMAND)
    show = SHOW.format(id=accepted["id"])
    await eventually(lambda: sh(system, show)["status"] == "succeeded", timeout=60)
    assert system.dueq("job", "logs", accepted["id"]).stdout == "Hello World\n"


def test_a_list_by_status_has_what_waits_and_nothing_else(system: Up) -> None:
    waiting = system.json("job", "submit", "--payload", "later", "--in", "1h")["id"]
    system.json("job", "show", waiting)  # it is stored
    listed = sh(system, LIST)["items"]
    assert waiting in {job["id"] for job in listed}
    assert {job["status"] for job in listed} == {"pending"}


@pytest.mark.parametrize("role", STATS)
def test_every_process_says_what_it_does(system: Up, role: str) -> None:
    stats = sh(system, STATS[role])
    assert stats["role"] == role
    assert stats["pid"] == system.processes(role)[0]["pid"]
    assert stats["counters"]


# -- the lines of the README


async def test_a_job_published_with_amqp_publish_runs(system: Up) -> None:
    with hook() as (url, called):
        readme_sh(system, readme_line("amqp-publish").replace("https://example.org/hook", url))
        await eventually(lambda: called)
    (job_id,) = called
    assert system.dueq("job", "watch", job_id, "--timeout", "30").returncode == 0


async def test_what_waits_can_be_looked_at_with_redis_cli(system: Up) -> None:
    """Paused, the queue keeps what is due later in `delayed` and what is due now in `ready`."""
    assert system.dueq("queue", "pause", "default").returncode == 0
    try:
        later = system.json("job", "submit", "--payload", "1", "--in", "1s")["id"]
        due = system.json("job", "submit", "--payload", "2")["id"]
        delayed, ready = (readme_line(f"redis-cli .*:{name}'") for name in ("delayed", "ready"))
        await eventually(lambda: later in readme_sh(system, delayed).split())
        await eventually(lambda: due in readme_sh(system, ready).split())
        (at,) = re.findall(rf"{later}\n(\d{{13}})\n", readme_sh(system, delayed))
        assert int(at) > 0
    finally:
        assert system.dueq("queue", "resume", "default").returncode == 0
    for job_id in (later, due):
        assert system.dueq("job", "watch", job_id, "--timeout", "30").returncode == 0


def readme_line(begin: str) -> str:
    """The one that begins so, to its end."""
    text = (ROOT / "README.md").read_text().replace("\\\n", "")
    (line,) = re.findall(rf"^{begin}.*$", text, re.MULTILINE)
    return str(line)


def readme_sh(system: Up, line: str) -> str:
    """What it prints in a shell that has the exports of the line before it."""
    require(shlex.split(line)[0])
    script = f"{system.dueq('config', '--export').stdout}\n{line}"
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


@contextmanager
def hook() -> Iterator[tuple[str, set[str]]]:
    """A URL of this machine, and the ids of the jobs that called it."""
    called: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            called.add(self.headers["Idempotency-Key"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quietly."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook", called
        finally:
            server.shutdown()
            thread.join()
