"""Running jobs seen and stopped, on real servers."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.e2e.running import Up, up
from tests.e2e.working import a_job, get, is_in, show, submit, worker
from tests.support import eventually, is_alive


@pytest.fixture(scope="module")
def patchy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A system with short leases; the tests bring workers of their own."""
    with up(tmp_path_factory.mktemp("patchy"), DUEQ_LEASE_SECONDS="2") as running:
        yield running


def outcomes(system: Up, job_id: str) -> list[str]:
    return [each["outcome"] for each in json.loads(get(system, f"{job_id}/executions"))["items"]]


@pytest.mark.parametrize("kind", ["coroutine", "process", "command"])
async def test_what_a_running_job_tells_is_seen_and_a_cancel_stops_it(
    patchy: Up, tmp_path: Path, kind: str
) -> None:
    queue = f"seen-{kind}"
    job_id = submit(patchy, a_job(kind, queue, tmp_path))
    with worker(patchy, tmp_path, queue, "first") as first:
        log = partial(get, patchy, f"{job_id}/executions/1/log")
        await eventually((tmp_path / "pid-1").exists, timeout=30)
        await eventually(lambda: log() == "waiting for go\n", timeout=5)
        if kind != "command":
            assert show(patchy, job_id)["progress"] == {"fraction": 0.5, "note": "waiting"}
            assert '"note": "waiting"' in patchy.dueq("job", "show", job_id).stdout
        pid = int((tmp_path / "pid-1").read_text())
        patchy.json("job", "cancel", job_id)
        if pid != first.pid:
            await eventually(lambda: not is_alive(pid), timeout=5)
    assert outcomes(patchy, job_id) == ["cancelled"]
    assert recorded_log(patchy, job_id) == log() == "waiting for go\n"


def recorded_log(system: Up, job_id: str) -> str:
    """What the record of the first attempt has of its log."""
    first, *_ = json.loads(get(system, f"{job_id}/executions"))["items"]
    log: str = first["log"]
    return log


@pytest.mark.parametrize("kind", ["process", "command"])
async def test_a_killed_worker_leaves_nothing_and_the_job_runs_again(
    patchy: Up, tmp_path: Path, kind: str
) -> None:
    queue = f"killed-{kind}"
    job_id = submit(patchy, a_job(kind, queue, tmp_path))
    with worker(patchy, tmp_path, queue, "first") as first:
        await eventually((tmp_path / "pid-1").exists, timeout=30)
        pid = int(await eventually((tmp_path / "pid-1").read_text))
        log = partial(get, patchy, f"{job_id}/executions/1/log")
        await eventually(lambda: log() == "waiting for go\n", timeout=5)
        first.kill()
        first.wait()
        await eventually(lambda: not is_alive(pid), timeout=2)
    (tmp_path / "go").touch()
    with worker(patchy, tmp_path, queue, "second"):
        await eventually(partial(is_in, patchy, job_id, "succeeded"), timeout=30)
    assert outcomes(patchy, job_id) == ["lost", "succeeded"]
    assert recorded_log(patchy, job_id) == "waiting for go\n"


async def test_a_worker_with_a_list_of_commands_runs_no_others(patchy: Up, tmp_path: Path) -> None:
    fine, shell = (
        submit(patchy, {"queue": "listed", "command": command})
        for command in (["printf", "hi"], "printf hi")
    )
    with worker(patchy, tmp_path, "listed", "first", allow="--allow-command=printf"):
        await eventually(partial(is_in, patchy, fine, "succeeded"), timeout=30)
        await eventually(partial(is_in, patchy, shell, "dead"), timeout=30)
    assert show(patchy, shell)["last_error"]["type"] == "forbidden_command"
    assert show(patchy, shell)["reason"] == "not_retryable"


async def test_a_coroutine_that_will_not_be_cancelled_keeps_neither_its_job_nor_its_worker(
    patchy: Up, tmp_path: Path
) -> None:
    job_id = submit(patchy, {"task": "stubborn", "queue": "stubborn"})
    with worker(patchy, tmp_path, "stubborn", "first") as first:
        await eventually(partial(is_in, patchy, job_id, "dead"), timeout=30)
        assert outcomes(patchy, job_id) == ["timed_out"]
        first.terminate()
        await eventually(lambda: first.poll() is not None, timeout=20)
    assert first.returncode == 0


async def test_a_coroutine_that_blocks_past_its_time_ends_its_worker_and_is_poison(
    patchy: Up, tmp_path: Path
) -> None:
    """The worker would extend its lease for ever, and never run anything else."""
    job_id = submit(patchy, {"task": "blocking", "queue": "blocking", "max_lost": 1})
    with worker(patchy, tmp_path, "blocking", "first") as first:
        await eventually(lambda: first.poll() is not None, timeout=30)
    assert first.returncode == 1
    assert "worker.gives_up" in (tmp_path / "first.log").read_text()
    await eventually(partial(is_in, patchy, job_id, "dead"), timeout=30)
    assert show(patchy, job_id)["reason"] == "poison"


async def test_a_task_submits_a_job_that_runs(patchy: Up, tmp_path: Path) -> None:
    job_id = submit(patchy, {"task": "parent", "queue": "parents", "payload": [1, 2]})
    with worker(patchy, tmp_path, "parents", "first"):
        await eventually(partial(is_in, patchy, job_id, "succeeded"), timeout=30)
    child = show(patchy, job_id)["result"]
    await eventually(partial(is_in, patchy, child, "succeeded"), timeout=30)
    assert show(patchy, child)["result"] == [1, 2]


@pytest.mark.parametrize("kind", ["process", "command"])
async def test_a_cancel_stops_the_work_within_a_second_however_long_the_lease(
    system: Up, tmp_path: Path, kind: str
) -> None:
    queue = f"hasty-{kind}"
    job_id = submit(system, a_job(kind, queue, tmp_path))
    with worker(system, tmp_path, queue, "first", DUEQ_LEASE_SECONDS="60"):
        pid = int(await eventually((tmp_path / "pid-1").read_text, timeout=30))
        request = Request(f"{system.http}/api/jobs/{job_id}/cancel", method="POST")
        with urlopen(request, timeout=10):
            await eventually(lambda: not is_alive(pid), timeout=1)


async def test_a_cancel_of_many_stops_them_as_soon(system: Up, tmp_path: Path) -> None:
    submit(system, a_job("command", "hasty", tmp_path))
    with worker(system, tmp_path, "hasty", "first", DUEQ_LEASE_SECONDS="60"):
        pid = int(await eventually((tmp_path / "pid-1").read_text, timeout=30))
        system.json("job", "cancel", "--queue", "hasty", "--yes")
        await eventually(lambda: not is_alive(pid), timeout=1)
