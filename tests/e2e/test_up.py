"""`dueq up`: several of everything, restarts, and nothing left behind however it ends."""

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from tests.e2e.programs import require
from tests.e2e.running import Up, clean_environment, command, pids_in, run, up
from tests.support import eventually, is_alive

GONE_SECONDS = 40
ROLES = ("gateway", "ingest", "watcher", "worker")
SERVERS = ("amqp", "mongo", "redis")


def submit_and_wait(system: Up) -> None:
    """A job travels the whole way."""
    ran = system.dueq("job", "submit", "--payload", "x", "--wait=30", "-o", "id")
    assert ran.returncode == 0, ran.stderr


def is_replaced(system: Up, role: str) -> bool:
    """Whether the first process of a role is another one now, at the same address."""
    old = system.processes(role)[0]
    new = {each["pid"]: each["http"] for each in system.processes_now(role)}
    return len(new) == 2 and old["pid"] not in new and old["http"] in new.values()


def urls_of(system: Up) -> dict[str, str]:
    """The settings that name its servers."""
    return {f"DUEQ_{name.upper()}_URL": str(system.line[name]) for name in SERVERS}


@contextmanager
def eviction(redis_url: str) -> Iterator[None]:
    """A Redis that may evict while the body runs; without a limit it has no reason to."""
    with redis.Redis.from_url(redis_url) as server:
        server.config_set("maxmemory-policy", "allkeys-lru")
        try:
            yield
        finally:
            server.config_set("maxmemory-policy", "noeviction")


def get(url: str) -> str:
    """The body of a page of this machine."""
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


async def test_several_of_everything_behind_a_balancer_survive_a_kill_of_each(
    tmp_path: Path,
) -> None:
    counts = ("--gateways", "2", "--ingests", "2", "--watchers", "2", "--workers", "2")
    with up(tmp_path, *counts, DUEQ_LEASE_SECONDS="3") as system:
        roles = [process["role"] for process in system.line["processes"]]
        assert sorted(roles) == sorted([*ROLES, *ROLES, "balancer"])
        assert system.http == system.processes("balancer")[0]["http"]
        for role in ROLES:
            os.kill(system.processes(role)[0]["pid"], signal.SIGKILL)
        submit_and_wait(system)
        await eventually(lambda: all(is_replaced(system, role) for role in ROLES), timeout=60)
        assert system.stop() == 0
    assert pids_in(tmp_path) == []


async def test_a_kill_of_up_itself_leaves_nothing_behind_and_the_next_one_has_the_data(
    tmp_path: Path,
) -> None:
    with up(tmp_path) as system:
        job_id = system.json("job", "submit", "--payload", "kept", "--in", "1h")["id"]
        system.json("job", "show", job_id)  # it is stored
        ours = [process["pid"] for process in system.line["processes"]]
        system.process.kill()
        system.process.wait()
        await eventually(lambda: not any(map(is_alive, ours)), timeout=GONE_SECONDS)
        await eventually(lambda: not pids_in(tmp_path), timeout=GONE_SECONDS)
    with up(tmp_path) as system:
        assert system.json("job", "show", job_id)["payload"] == "kept"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_or_a_closed_terminal_finishes_what_runs_and_ends_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    with up(tmp_path) as system:
        job_id = system.json("job", "submit", "--command", "sleep 2; echo done > done.txt")["id"]
        watched = system.dueq("job", "watch", job_id, "--timeout", "1.5")
        assert "running" in watched.stdout
        assert system.stop(number) == 0
    assert (tmp_path / "done.txt").exists()  # it was waited for, and it runs in our folder
    assert pids_in(tmp_path) == []
    assert not (tmp_path / ".dueq" / "urls.json").exists()


def test_a_second_one_in_the_same_folder_says_so(system: Up) -> None:
    ran = run("up", "--port", "0", folder=system.folder)
    assert ran.returncode == 1
    assert "in use by another process" in ran.stderr
    submit_and_wait(system)


def test_given_servers_are_used_and_not_started(system: Up, tmp_path: Path) -> None:
    none = ("--workers", "0", "--ingests", "0", "--watchers", "0")
    with up(tmp_path, *none, **urls_of(system)) as second:
        assert [second.line[name] for name in SERVERS] == [system.line[name] for name in SERVERS]
        submit_and_wait(second)  # done by the processes of the first
    submit_and_wait(system)  # its servers are still there


def test_everything_listens_on_loopback_alone(system: Up) -> None:
    require("ss")
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    ours = {f"pid={pid}," for pid in pids_in(system.folder)}
    lines = [line for line in listening.splitlines() if any(pid in line for pid in ours)]
    assert lines
    loopback = ("127.0.0.1:", "[::1]:", "[::ffff:127.0.0.1]:")
    assert [line for line in lines if not line.split()[3].startswith(loopback)] == []


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_with_an_address_for_others_only_the_front_takes_it(
    system: Up, tmp_path: Path, gateways: str
) -> None:
    """Other machines send their own Host there, and reach nothing else."""
    require("ss")
    few = ("--workers", "1", "--ingests", "0", "--watchers", "1", "--gateways", gateways)
    with up(tmp_path, *few, DUEQ_HTTP_HOST="0.0.0.0", **urls_of(system)) as second:
        listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True)
        ours = [f"pid={pid}," for pid in pids_in(tmp_path)]
        lines = [line for line in listening.stdout.splitlines() if any(p in line for p in ours)]
        open_ = [line.split()[3] for line in lines if not line.split()[3].startswith("127.0.0.1:")]
        assert open_ == [f"0.0.0.0:{urlsplit(second.http).port}"]
        request = urllib.request.Request(f"{second.http}/api/jobs", b"{}")
        for name, value in {"Host": "box.example", "Content-Type": "application/json"}.items():
            request.add_header(name, value)
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 202


@pytest.mark.parametrize("role", ROLES)
def test_every_process_is_alive_ready_and_measured(system: Up, role: str) -> None:
    http = system.processes(role)[0]["http"]
    for probe in ("livez", "readyz"):
        assert json.loads(get(f"{http}/{probe}"))["status"] in ("alive", "ready")
    assert "dueq_jobs_running" in get(f"{http}/metrics")


@pytest.mark.parametrize("role", ROLES)
def test_a_bad_value_stops_a_process_at_start_naming_the_variable(
    tmp_path: Path, role: str
) -> None:
    ran = run(role, folder=tmp_path, DUEQ_LEASE_SECONDS="soon")
    assert ran.returncode == 2
    assert "DUEQ_LEASE_SECONDS" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("DUEQ_AMQP_URL", "amqp://me:secret?@rabbit/"),
        ("DUEQ_MONGO_URL", "mongodb+srv://me:secret@db.example:27017/dueq"),
        ("DUEQ_REDIS_URL", "redis+sentinel://me:secret@cache/0"),
    ],
)
def test_a_url_that_cannot_be_used_stops_a_process_with_one_line(
    tmp_path: Path, role: str, variable: str, url: str
) -> None:
    ran = run(role, folder=tmp_path, DUEQ_HTTP_PORT="0", **{variable: url})
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith(f"dueq: {variable} cannot be used: ")
    assert "Traceback" not in ran.stderr
    assert "secret" not in ran.stderr


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("worker", folder=tmp_path, DUEQ_HTTP_PORT=str(port))
    assert ran.returncode == 1
    assert f"port {port}" in ran.stderr


@pytest.mark.parametrize("role", ROLES)
def test_a_redis_that_may_evict_is_refused_with_the_line_that_mends_it(
    system: Up, role: str
) -> None:
    url = str(system.line["redis"])
    with eviction(url):
        ran = run(role, folder=system.folder, DUEQ_HTTP_PORT="0", **urls_of(system))
    assert ran.returncode == 1
    assert "CONFIG SET maxmemory-policy noeviction" in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("role", ["ingest", "watcher", "worker"])
async def test_a_server_that_is_down_at_the_start_is_waited_for_and_said_to_be_down(
    tmp_path: Path, role: str
) -> None:
    nowhere = {"DUEQ_MONGO_URL": "mongodb://127.0.0.1:9/dueq?serverSelectionTimeoutMS=300"}
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command(role), cwd=tmp_path, stderr=output,
            env=clean_environment(DUEQ_HTTP_PORT="0", DUEQ_LEASE_SECONDS="3", **nowhere),
        )  # fmt: skip
        said = "MongoDB at 127.0.0.1:9 does not answer"
        await eventually(lambda: said in log.read_text(), timeout=60)
        assert "trying again in 2 s" in log.read_text()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        http = next(line["http"] for line in lines if line["event"] == "process.started")
        assert json.loads(get(f"{http}/livez"))["status"] == "alive"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(f"{http}/readyz")
        process.terminate()
        assert process.wait(timeout=30) == 0
