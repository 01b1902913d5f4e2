"""A worker in shell and curl, as the page in the docs shows it, against two gateways."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cable import Cable
from tests.e2e.programs import require
from tests.e2e.running import ROOT, Up, clean_environment, pids_in, up
from tests.support import eventually

PAGE = (ROOT / "docs" / "how-to" / "workers-in-any-language.md").read_text()
LONG = 90

COMMAND = """
job=$(cat)
attempt=$(echo "$job" | sed 's/.*"attempt":\\([0-9]*\\).*/\\1/')
case $job in
  *'"payload":"fails once"'*)
    echo "attempt $attempt, \\"quoted\\""; [ "$attempt" != 1 ] || exit 3 ;;
  *'"payload":"hangs once"'*) echo $$ >"hung.$attempt"; [ "$attempt" != 1 ] || exec sleep 300 ;;
  *'"payload":"waits once"'*)
    echo $$ >"waiting.$attempt"; [ "$attempt" != 1 ] || until [ -e go ]; do sleep 0.1; done ;;
  *'"payload":"prints bytes"'*) printf 'a\\303\\244\\377b\\n' ;;
esac
echo done
"""


@dataclass(frozen=True)
class Shell:
    """A running worker."""

    process: "subprocess.Popen[str]"
    log: Path

    def signal(self, number: signal.Signals) -> None:
        """To all of its own processes, and not to its job."""
        os.killpg(self.process.pid, number)


@dataclass(frozen=True)
class World:
    """A system that has no other worker for the queue."""

    system: Up
    folder: Path
    stack: ExitStack
    queue: str

    def worker(self, *command: str, shell: str = "sh", url: str = "") -> Shell:
        """One more."""
        log = self.folder / f"worker.{len(list(self.folder.glob('worker.*')))}"
        command = command or ("sh", str(self.folder / "command.sh"))
        argv = [shell, "worker.sh", self.queue, *command]
        return Shell(self.stack.enter_context(running(self, argv, url, log)), log)

    def submit(self, payload: str) -> str:
        """A job for the shell; its id."""
        (job_id,) = self.submit_all([payload])
        return job_id

    def submit_all(self, payloads: Sequence[str]) -> list[str]:
        """Jobs for the shell; their ids."""
        retry = {"backoff": "fixed", "base": 0.2, "jitter": "none"}
        jobs = [{"queue": self.queue, "payload": each, "retry": retry} for each in payloads]
        ran = self.system.dueq("job", "submit", "-", "-o", "id", stdin=json.dumps(jobs))
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split()

    def job(self, job_id: str) -> Mapping[str, Any]:
        """As it is."""
        shown: Mapping[str, Any] = self.system.get(f"/api/jobs/{job_id}")
        return shown

    def workers(self) -> list[Mapping[str, Any]]:
        """All that are listed."""
        items: list[Mapping[str, Any]] = self.system.get("/api/workers")["items"]
        return items

    def is_waiting(self, worker: Shell) -> bool:
        """Whether it is registered, and has no errors to tell of."""
        return any(each["pid"] == worker.process.pid for each in self.workers())

    def ends(self, job_id: str) -> Callable[[], bool]:
        """Whether it has succeeded."""
        return lambda: bool(self.job(job_id)["status"] == "succeeded")


@contextmanager
def running(
    world: World, argv: Sequence[str], url: str, log: Path
) -> Iterator["subprocess.Popen[str]"]:
    with log.open("w") as output:
        process = subprocess.Popen(
            argv, cwd=world.folder, env=clean_environment(DUEQ_URL=url or world.system.http),
            stdout=output, stderr=output, start_new_session=True, text=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        for number in (signal.SIGCONT, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        process.wait(timeout=10)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    require("curl")
    folder = tmp_path_factory.mktemp("shell")
    with up(folder, "--gateways", "2", DUEQ_LEASE_SECONDS="3") as ready:
        yield ready


@pytest.fixture
def world(system: Up, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "worker.sh").write_text(blocks("sh"))
    (tmp_path / "command.sh").write_text(COMMAND)
    with ExitStack() as stack:
        yield World(system, tmp_path, stack, f"shell-{tmp_path.name[-30:]}")
    for pid in pids_in(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class CutInTheMiddle(Cable):
    """Cuts the first answer with a job in it before its end."""

    has_cut = False

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            is_cut = not self.has_cut and b"dueq-lease" in data.lower()
            target.write(data[:-10] if is_cut else data)
            if is_cut:
                self.has_cut = True
                break
            await target.drain()
        target.close()


def blocks(language: str) -> str:
    """The lines of a language on the page."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


def test_the_worker_on_the_page_is_as_short_as_it_says() -> None:
    assert len(blocks("sh").splitlines()) <= 30


def test_a_shell_worker_without_a_command_does_not_start(tmp_path: Path) -> None:
    """It would take every job of its queue, do nothing, and tell that it succeeded."""
    (tmp_path / "worker.sh").write_text(blocks("sh"))
    asked = ["sh", "worker.sh", "mail"]
    ran = subprocess.run(
        asked, cwd=tmp_path, capture_output=True, text=True, timeout=10, check=False
    )
    assert ran.returncode != 0
    assert "COMMAND" in ran.stderr


async def test_a_job_runs_in_shell_and_its_output_is_its_log(world: World) -> None:
    world.worker()
    job_id = world.submit("anything")
    await eventually(world.ends(job_id), timeout=LONG)
    assert world.system.dueq("job", "logs", job_id).stdout == "done\n"
    (ours,) = [each for each in world.workers() if each["queues"] == [world.queue]]
    assert ours["over"] == "http"


async def test_a_job_that_fails_in_shell_is_tried_again(world: World) -> None:
    world.worker()
    job_id = world.submit("fails once")
    await eventually(world.ends(job_id), timeout=LONG)
    first, second = attempts(world, job_id)
    assert (first["outcome"], first["error"]["message"]) == ("failed", "exit code 3")
    assert first["stdout"] == 'attempt 1, "quoted"\n'
    assert second["outcome"] == "succeeded"


async def test_a_job_whose_worker_is_killed_is_lost_and_runs_again(world: World) -> None:
    killed = world.worker()
    job_id = world.submit("hangs once")
    await eventually((world.folder / "hung.1").exists, timeout=LONG)
    killed.process.kill()  # the shell alone: the rest of it must not keep the job
    killed.process.wait()
    world.worker()
    await eventually(world.ends(job_id), timeout=LONG)
    assert [each["outcome"] for each in attempts(world, job_id)] == ["lost", "succeeded"]


async def test_the_late_result_of_a_worker_that_was_frozen_is_refused(world: World) -> None:
    frozen = world.worker()
    job_id = world.submit("waits once")
    await eventually((world.folder / "waiting.1").exists, timeout=LONG)
    frozen.signal(signal.SIGSTOP)
    await eventually(lambda: world.job(job_id)["status"] != "running", timeout=LONG)
    (world.folder / "go").touch()
    world.worker()
    await eventually(world.ends(job_id), timeout=LONG)
    frozen.signal(signal.SIGCONT)
    await eventually(lambda: f"{job_id}: 409" in frozen.log.read_text(), timeout=LONG)
    lost, done = attempts(world, job_id)
    assert (lost["outcome"], done["outcome"]) == ("lost", "succeeded")
    assert lost["late"]["outcome"] == "succeeded"
    assert world.job(job_id)["status"] == "succeeded"


async def test_a_worker_that_is_told_to_stop_ends_its_job_and_says_goodbye(world: World) -> None:
    stopped = world.worker()
    job_id = world.submit("waits once")
    await eventually((world.folder / "waiting.1").exists, timeout=LONG)
    stopped.process.terminate()
    ours = [each for each in world.workers() if each["pid"] == stopped.process.pid]
    assert [each["running"] for each in ours] == [1]
    (world.folder / "go").touch()
    assert stopped.process.wait(timeout=LONG) == 0
    assert [each["outcome"] for each in attempts(world, job_id)] == ["succeeded"]
    assert stopped.process.pid not in {each["pid"] for each in world.workers()}


async def test_what_is_printed_need_not_be_text(world: World) -> None:
    world.worker()
    job_id = world.submit("prints bytes")
    await eventually(world.ends(job_id), timeout=LONG)
    assert world.system.dueq("job", "logs", job_id).stdout == "a\u00e4b\ndone\n"


async def test_a_worker_that_is_killed_while_it_waits_takes_no_job_along(world: World) -> None:
    killed = world.worker()
    await eventually(lambda: world.is_waiting(killed), timeout=LONG)
    killed.signal(signal.SIGKILL)
    killed.process.wait()
    job_id = world.submit("anything")  # starting the command takes longer than a look of a gateway
    world.worker()
    await eventually(world.ends(job_id), timeout=LONG)
    assert [each["outcome"] for each in attempts(world, job_id)] == ["succeeded"]


@pytest.mark.parametrize("shell", ["sh", "bash"])
async def test_how_a_command_ends_is_told_also_when_it_ends_before_it_is_waited_for(
    world: World, shell: str
) -> None:
    """Such a one the shell may have forgotten by then: bash has."""
    require(shell)
    ids = world.submit_all(["fails", "succeeds"] * 10)
    world.worker("grep", "-q", '"payload":"succeeds"', shell=shell)
    for job_id, outcome in zip(ids, ["failed", "succeeded"] * 10, strict=True):
        await eventually(partial(attempts, world, job_id), timeout=LONG)
        assert attempts(world, job_id)[0]["outcome"] == outcome


async def test_a_job_outlives_a_heartbeat_that_was_not_answered(world: World) -> None:
    cable = Cable(world.system.http)
    async with cable.laid():
        worker = world.worker(url=cable.url)
        job_id = world.submit("waits once")
        await eventually((world.folder / "waiting.1").exists, timeout=LONG)
        cable.lead_to("http://127.0.0.1:9")
        await eventually(lambda: "curl:" in worker.log.read_text(), timeout=LONG)
        cable.lead_to(world.system.http)
        (world.folder / "go").touch()
        await eventually(lambda: f"{job_id}: 200" in worker.log.read_text(), timeout=LONG)
    assert [each["outcome"] for each in attempts(world, job_id)] == ["succeeded"]


async def test_half_a_job_is_not_run(world: World) -> None:
    """A gateway dies while it answers: the same request again brings the whole job."""
    cable = CutInTheMiddle(world.system.http)
    async with cable.laid():
        world.worker("sh", "-c", '[ "$(tail -c 1)" = "}" ]', url=cable.url)
        job_id = world.submit("anything")
        await eventually(lambda: attempts(world, job_id), timeout=LONG)
    assert cable.has_cut
    assert [each["outcome"] for each in attempts(world, job_id)] == ["succeeded"]


async def test_a_worker_that_is_refused_says_why(world: World) -> None:
    worker = replace(world, queue="no queue").worker()
    assert worker.process.wait(timeout=LONG) == 1
    assert "is no queue" in worker.log.read_text()


def attempts(world: World, job_id: str) -> list[Mapping[str, Any]]:
    """The records of a job, oldest first."""
    items: list[Mapping[str, Any]] = world.system.get(f"/api/jobs/{job_id}/executions")["items"]
    return items
