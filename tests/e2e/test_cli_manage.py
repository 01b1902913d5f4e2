"""Changing jobs from the command line, one and many, against a real system."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.e2e.pages import blocks, page, printed
from tests.e2e.programs import require
from tests.e2e.running import Up, clean_environment, command
from tests.support import eventually


def submitted(system: Up, *arguments: str, stdin: str = "") -> str:
    """The id of a job."""
    ran = system.dueq("job", "submit", "-o", "id", *arguments, stdin=stdin)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_a_waiting_job_is_updated_and_run_now(system: Up) -> None:
    job_id = submitted(system, "--payload", "old", "--in", "1h", "--name", "update-me")
    changed = system.json(
        "job", "update", job_id, "--payload", "new", "--priority", "9", "--unset", "name"
    )
    assert (changed["payload"], changed["priority"], changed["name"]) == ("new", 9, None)
    patch = json.dumps({"tags": ["a"], "delay": 7200})
    assert system.json("job", "update", job_id, "-f", "-", stdin=patch)["delay"] == 7200
    assert system.dueq("job", "run", job_id).returncode == 0
    assert system.dueq("job", "watch", job_id, "--timeout", "30").returncode == 0
    assert system.json("job", "show", job_id)["result"] == "new"
    attempts = system.json("job", "executions", job_id)["items"]
    assert [attempt["outcome"] for attempt in attempts] == ["succeeded"]


def test_the_terms_of_a_job_are_flags_of_submit_update_and_schedules(system: Up) -> None:
    own = (
        "--tag",
        "a",
        "--tag",
        "b",
        "--timeout",
        "5m",
        "--max-attempts",
        "3",
        "--on-lost",
        "dead",
    )
    expires = ("--expires-at", "2100-01-01T00:00:00Z")
    job_id = submitted(system, "--payload", "x", "--in", "1h", "--backoff", "fixed", *own, *expires)
    job = system.json("job", "show", job_id)
    assert (job["tags"], job["timeout"], job["on_lost"]) == (["a", "b"], 300, "dead")
    assert (job["retry"]["max_attempts"], job["retry"]["backoff"]) == (3, "fixed")
    assert job["expires_at"] == "2100-01-01T00:00:00Z"
    job = system.json("job", "update", job_id, "--max-attempts", "9", "--command", "true")
    assert (job["retry"]["max_attempts"], job["retry"]["backoff"]) == (9, "fixed")
    assert (job["kind"], job.get("payload")) == ("command", None)
    made = system.json("schedule", "add", "--every", "1d", "--command", "true", *own)
    edited = system.json("schedule", "edit", made["id"], "--max-attempts", "4", "--tag", "c")
    assert made["job"] | {"tags": ["c"], "retry": {"max_attempts": 4}} == edited["job"]
    assert (made["job"]["timeout"], made["job"]["on_lost"]) == (300, "dead")
    assert system.dueq("schedule", "remove", made["id"]).returncode == 0


async def test_the_log_of_a_job_can_be_read_while_it_runs(system: Up) -> None:
    job_id = submitted(system, "--", "sh", "-c", "echo begun; sleep 30")
    await eventually(lambda: "begun" in system.dueq("job", "logs", job_id).stdout, timeout=25)
    assert "attempt 1: running" in system.dueq("job", "logs", job_id).stderr
    assert system.dueq("job", "cancel", job_id).returncode == 0


async def test_a_job_is_followed_line_by_line_through_all_of_its_attempts(
    system: Up, tmp_path: Path
) -> None:
    lines = f"""echo begun $DUEQ_ATTEMPT
        until test -e {tmp_path}/go; do sleep 0.05; done
        echo oops $DUEQ_ATTEMPT >&2; printf 'last %s' $DUEQ_ATTEMPT; exit 3"""
    retry = {"max_attempts": 2, "backoff": "fixed", "base": 0.1, "jitter": "none"}
    job = json.dumps({"command": lines, "retry": retry})
    job_id = submitted(system, "-", stdin=job)
    with subprocess.Popen(
        command("job", "logs", "--follow", job_id), cwd=system.folder, env=clean_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        assert following.stdout is not None
        assert following.stdout.readline() == "begun 1\n"  # while it runs
        (tmp_path / "go").touch()
        rest, told = following.communicate(timeout=60)
    expected = ["begun 2"]
    for attempt in (1, 2):
        expected += [f"last {attempt}", f"oops {attempt}", "exit_code: exit code 3"]
    assert sorted(rest.splitlines()) == sorted(expected)
    assert (following.returncode, f"job {job_id} is dead" in told) == (6, True)
    assert "-- attempt 1: running\n-- attempt 1: failed\n-- attempt 2: " in told
    again = system.dueq("job", "logs", "--follow", job_id)
    assert sorted(again.stdout.splitlines()) == sorted(["begun 1", *expected])
    assert system.dueq("job", "logs", "--follow", job_id, "--attempt", "1").returncode == 2


def test_what_cannot_be_changed_has_an_exit_code_of_its_own(system: Up) -> None:
    job_id = submitted(system, "--payload", "x", "--wait")
    assert system.dueq("job", "update", job_id, "--priority", "1").returncode == 4
    assert system.dueq("job", "run", job_id).returncode == 4
    assert system.dueq("job", "update", job_id).returncode == 2
    waiting = submitted(system, "--payload", "x", "--in", "1h")
    assert (
        system.dueq("job", "update", waiting, "--if-match", "other", "--priority", "1").returncode
        == 4
    )
    assert system.dueq("job", "update", waiting, "--priority", "11").returncode == 2
    assert system.json("job", "delete", waiting)["status"] == "deleted"
    assert system.dueq("job", "show", waiting).returncode == 3


def test_of_several_named_each_is_tried_and_the_first_failure_is_the_exit_code(
    system: Up,
) -> None:
    first, last = (submitted(system, "--payload", "x", "--in", "1h") for _ in range(2))
    ran = system.dueq("job", "cancel", first, "no-such-job", last, "-o", "id")
    assert (ran.returncode, ran.stdout.split()) == (3, [first, last])
    assert "no-such-job: " in ran.stderr
    assert "cancel: 1 of 3 not done" in ran.stderr


def test_many_are_counted_cancelled_retried_and_deleted_by_a_filter(system: Up) -> None:
    jobs = [{"payload": n, "name": f"many-{n}", "tags": ["cli"], "delay": 3600} for n in range(12)]
    system.dueq("job", "submit", "-f", "-", stdin=json.dumps(jobs))
    assert len(system.json("job", "list", "--q", "many-", "--tag", "cli")["items"]) == 12
    counted = system.json("job", "cancel", "--tag", "cli", "--dry-run")
    assert counted == {"matched": 12, "complete": True}
    done = {"matched": 12, "changed": 12, "unchanged": 0, "complete": True}
    assert system.json("job", "cancel", "--tag", "cli", "--q", "many-", "--yes") == done
    for verb in ("cancel", "retry", "delete"):
        refused = system.dueq("job", verb, "--tag", "cli")
        assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    some = system.json("job", "retry", "--tag", "cli", "--limit", "5", "--yes")
    assert (some["changed"], some["complete"]) == (5, False)
    assert (
        system.json("job", "delete", "--tag", "cli", "--status", "cancelled", "--yes")["changed"]
        == 7
    )


def test_nothing_and_everything_have_to_be_said(system: Up) -> None:
    assert system.dueq("job", "cancel").returncode == 2
    assert system.dueq("job", "delete", "--status", "dead", "some-id").returncode == 2
    assert system.dueq("job", "retry", "some-id", "--dry-run").returncode == 2
    assert system.json("job", "retry", "--all", "--dry-run")["complete"] is True


@pytest.mark.parametrize(("answer", "state"), [(b"n\n", "pending"), (b"y\n", "cancelled")])
def test_a_person_at_a_terminal_is_asked_before_many_are_changed(
    system: Up, answer: bytes, state: str
) -> None:
    job_id = submitted(system, "--payload", "x", "--in", "1h", "--queue", f"asked-{state}")
    person, terminal = pty.openpty()
    os.write(person, answer)
    ran = subprocess.run(
        command("job", "cancel", "--queue", f"asked-{state}", "-o", "json"), cwd=system.folder,
        stdin=terminal,
        env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(person)
    os.close(terminal)
    assert "Cancel 1 jobs?" in ran.stderr
    assert ran.stdout[:1] in ("", "{")
    assert ran.returncode == (0 if state == "cancelled" else 1)
    assert system.json("job", "show", job_id)["status"] == state


def test_every_line_of_the_page_on_managing_jobs_works(system: Up) -> None:
    require("curl")
    lines = "\n".join(blocks(page("manage-jobs"), "sh"))
    text = printed(lines, system.folder, DUEQ_URL=system.http)
    assert '"priority":9' in text
    assert "succeeded" in text
