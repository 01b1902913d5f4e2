"""The lines that people copy, as they stand; only the port is that of the system under test."""

import json
import shlex
import subprocess
from typing import Any

import pytest

from tests.e2e.running import Up
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
