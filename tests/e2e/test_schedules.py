"""Schedules through the real gateway: the commands, and a change under `If-Match`."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.e2e.pages import blocks, page, printed
from tests.e2e.running import Up


def added(system: Up, *arguments: str) -> str:
    """The id of a schedule."""
    ran = system.dueq("schedule", "add", "-o", "id", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def patched(system: Up, schedule_id: str, change: Any, if_match: str) -> int:
    """The status of a PATCH."""
    request = urllib.request.Request(
        f"{system.http}/api/schedules/{schedule_id}",
        json.dumps(change).encode(),
        {"Content-Type": "application/merge-patch+json", "If-Match": if_match},
        method="PATCH",
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_schedule_is_made_found_changed_held_fired_by_hand_and_removed(system: Up) -> None:
    berlin = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin")
    schedule_id = added(system, "--name", "by-cli", *berlin, "--payload", '{"a": 1}')
    shown = system.json("schedule", "show", schedule_id)
    assert (shown["in_words"], shown["job"]) == ("At 02:30 every day", {"payload": {"a": 1}})
    assert [each["id"] for each in system.json("schedule", "list", "--q", "by-c")["items"]] == [
        schedule_id
    ]

    assert system.json("schedule", "pause", schedule_id)["next_fire_at"] is None
    job_id = system.dueq("schedule", "trigger", schedule_id, "-o", "id").stdout.strip()
    assert system.dueq("job", "watch", job_id, "--timeout", "30").returncode == 0
    assert system.json("job", "show", job_id)["schedule_id"] == schedule_id
    (fire,) = system.json("schedule", "fires", schedule_id)["items"]
    assert (fire["job_id"], fire["status"]) == (job_id, "succeeded")
    assert system.json("schedule", "resume", schedule_id)["next_fire_at"] is not None

    edited = system.json("schedule", "edit", schedule_id, "--every", "90s", "--command", "true")
    assert (edited["every"], edited["job"], edited["version"]) == (90, {"command": "true"}, 4)
    assert "cron" not in edited
    assert system.dueq("schedule", "edit", schedule_id, "--name", "x", "--if-version", "1"
                       ).returncode == 4  # fmt: skip
    assert system.dueq("schedule", "remove", schedule_id).returncode == 0
    assert system.dueq("schedule", "show", schedule_id).returncode == 3


def test_a_preview_marks_the_change_of_the_clock(system: Up) -> None:
    described = ("--cron", "30 2 28 3 *", "--timezone", "Europe/Berlin")
    start = ("--start-at", "2027-01-01T00:00:00Z")
    answer = system.json("schedule", "preview", "-n", "1", *described, *start)
    assert answer["items"][0]["at"] == "2027-03-28T01:00:00.000Z"
    assert "does not exist" in answer["items"][0]["note"]
    table = system.dueq("schedule", "preview", "-n", "1", *described, *start)
    assert "2027-03-28T03:00:00.000+02:00" in table.stdout
    assert "(Europe/Berlin)" in table.stderr


def test_the_forecast_counts_every_schedule(system: Up) -> None:
    before = system.json("schedule", "forecast")
    schedule_id = added(system, "--every", "10s", "--paused")
    assert system.json("schedule", "forecast")["total"] == before["total"]
    system.json("schedule", "resume", schedule_id)
    after = system.json("schedule", "forecast")
    assert after["total"] - before["total"] == pytest.approx(8640, abs=20)
    assert system.dueq("schedule", "remove", schedule_id).returncode == 0


def test_flags_win_over_the_file_and_words_after_two_dashes_are_a_command(system: Up) -> None:
    described = {"cron": "@daily", "paused": True, "job": {"queue": "files", "priority": 3}}
    (system.folder / "schedule.json").write_text(json.dumps(described))
    flags = ("--file", "schedule.json", "--cron", "@weekly", "--priority", "7")
    schedule_id = added(system, *flags, "--", "echo", "a b")
    shown = system.json("schedule", "show", schedule_id)
    assert (shown["cron"], shown["paused"]) == ("@weekly", True)
    assert shown["job"] == {"queue": "files", "priority": 7, "command": ["echo", "a b"]}
    unset = system.json("schedule", "edit", schedule_id, "--unset", "paused")
    assert unset["paused"] is False


def test_an_impossible_date_is_refused_with_its_place(system: Up) -> None:
    ran = system.dueq("schedule", "add", "--cron", "0 0 30 2 *")
    assert ran.returncode == 2
    assert "/cron" in ran.stderr
    assert "no day 30 in month 2" in ran.stderr


def test_the_same_key_is_the_same_schedule(system: Up) -> None:
    asked = ("--cron", "@daily", "--paused", "--idempotency-key", "cli-schedule")
    assert added(system, *asked) == added(system, *asked)
    other = system.dueq("schedule", "add", "--every", "1h", "--idempotency-key", "cli-schedule")
    assert other.returncode == 2


def test_a_change_is_made_only_to_the_version_that_was_seen(system: Up) -> None:
    schedule_id = added(system, "--cron", "@yearly", "--name", "tagged")
    assert patched(system, schedule_id, {"name": "other"}, '"1"') == 200
    assert patched(system, schedule_id, {"name": "late"}, '"1"') == 412
    assert system.json("schedule", "show", schedule_id)["name"] == "other"


def test_every_line_of_the_page_on_schedules_works(system: Up) -> None:
    lines = "\n".join(blocks(page("schedules"), "sh"))
    text = printed(lines, system.folder, DUEQ_URL=system.http)
    assert "does not exist: fires at the moment of the change" in text
    assert "succeeded" in text
    assert text.endswith("404\n")
