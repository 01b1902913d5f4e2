"""The commands against a real system: data on stdout, all else on stderr, an exit code each."""

import json
import subprocess

import pytest

from tests.e2e.programs import require
from tests.e2e.running import Up, run


def submitted(system: Up, *arguments: str) -> str:
    """The id of a job."""
    ran = system.dueq("job", "submit", "-o", "id", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_a_submitted_job_is_found_with_its_attempts(system: Up) -> None:
    job_id = submitted(system, "--name", "found", "--payload", '{"a": 1}', "--wait")
    job = system.json("job", "show", job_id)
    assert (job["name"], job["status"], job["result"]) == ("found", "succeeded", {"a": 1})
    shown = system.dueq("job", "show", job_id).stdout
    assert job_id in shown
    assert "OUTCOME" in shown
    listed = system.json("job", "list", "--name", "found")
    assert [each["id"] for each in listed["items"]] == [job_id]


def test_words_after_two_dashes_are_a_command_and_logs_prints_what_it_printed(system: Up) -> None:
    job_id = submitted(system, "--wait", "--", "sh", "-c", "echo 'a  b' --wait; echo oops >&2")
    assert system.dueq("job", "logs", job_id).stdout.splitlines() == ["a  b --wait", "oops"]


def test_words_without_dashes_are_refused_lest_a_slip_becomes_a_command(system: Up) -> None:
    ran = system.dueq("job", "submit", "--name", "my", "report")
    assert ran.returncode == 2
    assert "write -- before" in ran.stderr


def test_a_job_that_dies_ends_the_wait_with_6_and_says_why(system: Up) -> None:
    job = json.dumps({"task": "always.fails", "retry": {"max_attempts": 1}})
    ran = system.dueq("job", "submit", "--file", "-", "--wait", "-o", "json", stdin=job)
    assert ran.returncode == 6
    assert json.loads(ran.stdout)["status"] == "dead"
    assert "this can never work" in ran.stderr


def test_a_wait_that_takes_too_long_ends_with_7(system: Up) -> None:
    ran = system.dueq("job", "submit", "--in", "1h", "--wait=1")
    assert ran.returncode == 7


def test_a_job_in_a_queue_without_workers_says_where_to_look(system: Up) -> None:
    ran = system.dueq("job", "submit", "--queue", "nobodys", "--payload", "x", "--wait", "1")
    assert ran.returncode == 7
    assert "`dueq queue show nobodys`" in ran.stderr
    assert system.json("queue", "show", "nobodys")["workers"] == 0


def test_a_job_that_is_unknown_ends_with_3_and_one_that_has_ended_cannot_be_cancelled(
    system: Up,
) -> None:
    assert system.dueq("job", "show", "no-such-job").returncode == 3
    job_id = submitted(system, "--payload", "x", "--wait")
    assert system.dueq("job", "cancel", job_id).returncode == 4
    assert system.dueq("job", "retry", job_id).returncode == 4


def test_a_waiting_job_can_be_cancelled_and_run_again(system: Up) -> None:
    job_id = submitted(system, "--payload", "x", "--in", "1h")
    watched = system.dueq("job", "watch", job_id, "--timeout", "0.2")
    assert watched.returncode == 7
    assert "pending" in watched.stdout
    assert system.json("job", "cancel", job_id)["status"] == "cancelled"
    assert system.json("job", "retry", job_id)["status"] in ("pending", "queued", "running")
    assert system.dueq("job", "watch", job_id, "--timeout", "30").returncode == 0


def test_the_same_key_is_the_same_job(system: Up) -> None:
    first = submitted(system, "--payload", "once", "--idempotency-key", "cli-key")
    assert submitted(system, "--payload", "once", "--idempotency-key", "cli-key") == first


def test_a_list_of_jobs_is_submitted_whole_and_the_bad_ones_are_named(system: Up) -> None:
    jobs = [{"payload": 1}, {"payload": 2, "priorty": 9}, {"payload": 3}]
    ran = system.dueq("job", "submit", "-", "-o", "json", stdin=json.dumps(jobs))
    answer = json.loads(ran.stdout)
    assert (answer["accepted"], answer["rejected"][0]["index"]) == (2, 1)
    assert ran.returncode == 1
    assert "/priorty" in ran.stderr


def test_lines_of_json_are_jobs_too_and_ids_come_one_a_line(system: Up) -> None:
    lines = "\n".join(json.dumps({"payload": number}) for number in range(3))
    ran = system.dueq("job", "submit", "--file", "-", "-o", "id", stdin=lines)
    assert len(ran.stdout.split()) == 3


def test_a_bad_field_is_named_with_its_place(system: Up) -> None:
    ran = system.dueq("job", "submit", "--payload", "x", "--priority", "11")
    assert ran.returncode == 2
    assert "/priority" in ran.stderr
    assert ran.stdout == ""


def test_a_paused_queue_keeps_its_jobs_in_order_until_it_is_resumed(system: Up) -> None:
    queue = "paused-by-cli"
    assert system.dueq("queue", "pause", queue).returncode == 0
    low = submitted(system, "--queue", queue, "--payload", "1", "--priority", "1")
    high = submitted(system, "--queue", queue, "--payload", "2", "--priority", "9")
    system.dueq("job", "watch", high, "--timeout", "0.5")
    peeked = system.json("queue", "peek", queue)
    assert [each["id"] for each in peeked["items"]] == [high, low]
    assert system.json("queue", "show", queue)["paused"] is True
    assert queue in system.dueq("queue", "list", "-o", "id").stdout.split()
    assert system.dueq("queue", "resume", queue).returncode == 0
    assert system.json("queue", "show", queue)["paused"] is False


@pytest.mark.parametrize("words", [("pause", "emials"), ("limit", "mials", "--concurrency", "2")])
def test_a_queue_that_nobody_knows_is_held_with_a_word_of_doubt(
    system: Up, words: tuple[str, ...]
) -> None:
    """It may be misspelt, and the one that was meant goes on."""
    first, again = (system.dueq("queue", *words) for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0)
    assert "is that its name?" in first.stderr
    assert again.stderr == ""
    wrong = system.dueq("queue", words[0], "no name", *words[2:])
    assert (wrong.returncode, "all the same" in wrong.stderr) == (3, False)


def test_a_burst_without_a_rate_is_refused_in_the_words_of_the_command(system: Up) -> None:
    for queue in ("never-seen", "without-rate"):
        ran = system.dueq("queue", "limit", queue, "--burst", "3")
        assert ran.returncode == 2
        assert f"--burst goes with a rate, and {queue} has none" in ran.stderr
    system.json("queue", "limit", "never-seen", "--rate", "5/10s")
    limits = system.json("queue", "limit", "never-seen", "--burst", "3")["limits"]
    assert limits["rate"] == {"count": 5, "per": 10.0, "burst": 3}


def test_the_doctor_finds_a_running_system_well(system: Up) -> None:
    report = system.json("doctor")
    assert report["ok"] is True
    found = {finding["check"] for finding in report["findings"]}
    assert found >= {"gateway is ready", "ingest alive", "watcher alive", "worker alive"}


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(system: Up) -> None:
    urls = {"DUEQ_AMQP_URL": str(system.line["amqp"]), "DUEQ_REDIS_URL": "redis://127.0.0.1:9/0",
            "DUEQ_MONGO_URL": "mongodb://127.0.0.1:9/dueq"}  # fmt: skip
    ran = run("doctor", "-o", "json", folder=system.folder, DUEQ_URL="http://127.0.0.1:9", **urls)
    assert ran.returncode == 1
    wrong = {each["check"]: each for each in json.loads(ran.stdout)["findings"] if not each["ok"]}
    assert set(wrong) == {"MongoDB answers", "Redis answers", "gateway answers"}
    assert "DUEQ_REDIS_URL" in wrong["Redis answers"]["mend"]


def test_the_exports_are_the_urls_of_the_system_beside(system: Up) -> None:
    require("redis-cli")
    exports = system.dueq("config", "--export").stdout
    script = exports + 'redis-cli -u "$DUEQ_REDIS_URL" ping'
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "PONG\n"
    assert "guest:***@" in system.dueq("config").stdout


@pytest.mark.parametrize("arguments", [("job", "list"), ("queue", "list"), ("config",)])
def test_every_output_is_json_when_asked_and_a_pipe_gets_no_colours(
    system: Up, arguments: tuple[str, ...]
) -> None:
    json.loads(system.dueq(*arguments, "-o", "json").stdout)
    for line in system.dueq(*arguments, "-o", "jsonl").stdout.splitlines():
        json.loads(line)
    assert "\x1b" not in system.dueq(*arguments).stdout


def test_without_a_gateway_a_command_ends_with_5(system: Up) -> None:
    ran = run("job", "list", folder=system.folder, DUEQ_URL="http://127.0.0.1:9")
    assert ran.returncode == 5
