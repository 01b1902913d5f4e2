"""What `dueq schedule` makes of its flags, without any server."""

import json
from pathlib import Path

import pytest

from infra.cli import schedule
from infra.cli.flags import object_in, of_one_kind, seconds
from infra.exits import CommandFailed, Exit


def test_a_new_rule_takes_the_place_of_the_other_kind() -> None:
    assert schedule._instead({"cron": "@daily"}) == {"cron": "@daily", "every": None}
    assert schedule._instead({"every": 90.0}) == {
        "every": 90.0,
        "cron": None,
        "gap": None,
        "repeat": None,
    }
    assert schedule._instead({"timezone": "Europe/Berlin"}) == {"timezone": "Europe/Berlin"}


def test_a_new_kind_of_job_takes_the_place_of_the_one_that_was_there() -> None:
    assert of_one_kind({"command": "true", "queue": "q"}) == {
        "command": "true",
        "queue": "q",
        "http": None,
        "amqp": None,
        "task": None,
        "payload": None,
    }
    assert "payload" not in of_one_kind({"task": "reports.nightly"})
    assert of_one_kind({"priority": 9}) == {"priority": 9}


def test_an_edit_that_names_nothing_is_a_usage_error() -> None:
    with pytest.raises(CommandFailed, match="nothing to change") as failure:
        schedule.edit("some-id")
    assert failure.value.code is Exit.USAGE


def test_a_preview_is_of_one_that_is_stored_or_of_one_that_is_described() -> None:
    with pytest.raises(CommandFailed, match="not both"):
        schedule.preview("some-id", cron="@daily")


def test_a_file_that_is_no_object_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    for text in ("[1]", "{", ""):
        file = tmp_path / "schedule.json"
        file.write_text(text)
        with pytest.raises(CommandFailed, match=r"schedule\.json") as failure:
            object_in(str(file))
        assert failure.value.code is Exit.USAGE
    file.write_text(json.dumps({"every": 5}))
    assert object_in(str(file)) == {"every": 5}


def test_a_bad_duration_names_its_flag() -> None:
    with pytest.raises(CommandFailed, match="--every"):
        seconds("often", "--every")
