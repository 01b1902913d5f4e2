"""What `dueq` makes of its arguments, without any server."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from infra.cli import many, with_bare_wait
from infra.cli.client import Gateway, in_words
from infra.cli.flags import seconds, value
from infra.cli.logs import later, lines_of
from infra.cli.output import Format, cell, emit_list, emit_one, harmless, tell
from infra.cli.queue import rate_of
from infra.cli.submit import submit
from infra.cli.waiting import check_outcome
from infra.exits import CommandFailed, Exit

ITEMS = {"items": [{"id": "a", "name": "x"}, {"id": "b", "name": None}], "next_cursor": "c"}


def test_help_is_there_at_once_because_nothing_heavy_is_imported() -> None:
    heavy = ("aiohttp", "aio_pika", "fastapi", "motor", "pydantic", "redis", "rich", "structlog")
    code = (
        "import sys; sys.argv = ['dueq', '--help']\n"
        "from infra.cli import main\n"
        "try: main()\n"
        f"except SystemExit: sys.stderr.write(' '.join(m for m in {heavy} if m in sys.modules))"
    )
    began = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: dueq" in ran.stdout
    assert ran.stderr == ""
    assert time.monotonic() - began < 2  # 0.1 s; the rest is for a busy machine


def test_who_closed_our_standard_streams_learns_the_same_from_the_exit_code() -> None:
    dueq = f'DUEQ_URL=http://127.0.0.1:9 exec "{sys.executable}" -P -m infra.cli queue list'
    for closed in ("2>&-", "<&- >&- 2>&-"):
        ran = subprocess.run(["sh", "-c", f"{dueq} {closed}"], check=False)
        assert ran.returncode == Exit.UNREACHABLE


@pytest.mark.parametrize(
    ("text", "expected"), [("30", 30), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("1d", 86_400)]
)
def test_durations_have_units_people_write(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 minutes", "1e3"])
def test_what_is_no_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(CommandFailed) as failure:
        seconds(text)
    assert failure.value.code is Exit.USAGE


@pytest.mark.parametrize(
    ("text", "expected"), [('{"a": 1}', {"a": 1}), ("5", 5), ("test job", "test job"), ("[1]", [1])]
)
def test_a_payload_is_json_where_it_is_json(text: str, expected: Any) -> None:
    assert value(text) == expected


def test_a_payload_that_looks_like_json_and_is_none_is_refused_not_sent_as_text() -> None:
    with pytest.raises(CommandFailed, match="is not JSON"):
        value('{"a": 1')


def test_wait_without_a_number_waits_without_end_and_words_of_the_job_are_left_alone() -> None:
    assert with_bare_wait(["submit", "--wait", "--", "x", "--wait"]) == [
        "submit", "--wait=inf", "--", "x", "--wait",
    ]  # fmt: skip
    assert with_bare_wait(["submit", "--wait=5"]) == ["submit", "--wait=5"]


def test_wait_takes_the_number_behind_it_and_no_other_word() -> None:
    assert with_bare_wait(["--wait", "5", "-o", "id"]) == ["--wait=5", "-o", "id"]
    assert with_bare_wait(["-f", "5", "--wait"]) == ["-f", "5", "--wait=inf"]
    assert with_bare_wait(["--wait", "-"]) == ["--wait=inf", "-"]
    assert with_bare_wait(["--wait", "--", "5"]) == ["--wait=inf", "--", "5"]


def test_a_job_of_which_nothing_is_said_is_a_usage_error() -> None:
    with pytest.raises(CommandFailed, match="say what to do") as failure:
        submit()
    assert failure.value.code is Exit.USAGE


def test_a_table_in_a_pipe_is_aligned_and_cuts_nothing_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = {"items": [{"id": "a" * 300, "name": "x"}, {"id": "b", "name": "y"}]}
    emit_list(long, Format.TABLE, ("id", "name"))
    heading, first, second = capsys.readouterr().out.splitlines()
    assert first == "a" * 300 + "  x"
    assert heading.index("NAME") == first.index("x") == second.index("y")


def test_json_stays_on_one_line_however_long_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    emit_one({"id": "a", "result": "long " * 1000}, Format.JSON, ("id",))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_jsonl_prints_a_line_and_id_an_id_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    emit_list(ITEMS, Format.JSONL, ("id",))
    emit_list(ITEMS, Format.ID, ("id",))
    assert capsys.readouterr().out.splitlines() == [
        '{"id": "a", "name": "x"}', '{"id": "b", "name": null}', "a", "b",
    ]  # fmt: skip


def test_control_characters_in_a_job_cannot_drive_the_terminal() -> None:
    assert cell("\x1b[2Jgone\n\u202e") == "\ufffd[2Jgone\ufffd\ufffd"


def test_nor_can_those_in_its_json_which_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON leaves those from 0x7f to 0x9f as they are, and one of them begins what ESC [ does."""
    row = {"id": "\x9b2J\x7f\u00e9\x1b"}
    emit_one(row, Format.JSON, ("id",))
    out = capsys.readouterr().out
    assert out == '{"id": "\\u009b2J\\u007f\u00e9\\u001b"}\n'
    assert json.loads(out) == row


def test_what_an_attempt_was_answered_or_failed_with_cannot_drive_the_terminal() -> None:
    error = {"type": "t", "message": "\x1b[2Jm", "detail": "\x9b2J\nd"}
    record = {"stdout": "\x1b[31mred", "body": "\x1b[2Jb\n", "error": error}
    told = ["\x1b[31mred", "\ufffd[2Jb", "t: \ufffd[2Jm", "\ufffd2J", "d"]
    assert list(lines_of(record)) == told


def test_what_is_told_beside_the_data_cannot_drive_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It quotes errors of jobs, and what a gateway says."""
    tell("dueq: it is dead: \x1b[2Jgone")
    assert capsys.readouterr().err == "dueq: it is dead: \ufffd[2Jgone\n"


def test_a_word_that_cannot_be_told_is_no_reason_to_stop() -> None:
    """The terminal has gone; what is done goes on."""
    code = "from infra.cli.output import say, tell; tell('stopping'); say('stopped')"
    with Path("/dev/full").open("w") as gone:
        ran = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=gone, check=False
        )
    assert ran.stdout == b"stopped\n"


def test_text_of_any_language_stays_as_it_is() -> None:
    text = "\u00a0\u00e7a \u00bb \u6771\u3000\u4eac \u06cc\u200c\u062e \U0001f468\u200d\U0001f469"
    assert harmless(text) == text


def test_an_awaited_job_that_did_not_succeed_has_an_exit_code_of_its_own() -> None:
    dead = {"id": "a", "status": "dead", "last_error": {"message": "boom"}}
    with pytest.raises(CommandFailed, match="boom") as failure:
        check_outcome(dead)
    assert failure.value.code is Exit.JOB_FAILED


def test_a_gateway_that_is_not_there_is_unreachable_and_says_what_to_do() -> None:
    with pytest.raises(CommandFailed, match="dueq up") as failure:
        Gateway("http://127.0.0.1:9").get("/api/jobs")
    assert failure.value.code is Exit.UNREACHABLE


def test_a_url_that_is_none_is_a_usage_error_that_names_the_variable() -> None:
    with pytest.raises(CommandFailed, match="DUEQ_URL"):
        Gateway("localhost:8080")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10/s", {"count": 10, "per": 1.0, "burst": None}),
        ("5/10s", {"count": 5, "per": 10.0, "burst": None}),
        ("100/m", {"count": 100, "per": 60.0, "burst": None}),
        ("1/1.5h", {"count": 1, "per": 5400.0, "burst": None}),
        ("none", None),
    ],
)
def test_a_rate_is_written_as_people_say_it(text: str, expected: object) -> None:
    assert rate_of(text, None) == expected


@pytest.mark.parametrize("text", ["10", "10/", "/s", "10/x", "ten/s", "10/1.2.3s", "10/.s"])
def test_a_rate_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        rate_of(text, None)
    assert failed.value.code is Exit.USAGE


def test_a_burst_of_no_rate_is_a_usage_error() -> None:
    with pytest.raises(CommandFailed, match="--burst") as failed:
        rate_of("none", 5)
    assert failed.value.code is Exit.USAGE


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [
        ("", "ab", "ab"),
        ("ab", "ab", ""),
        ("ab", "abc", "c"),
        ("abcd", "?cdef", "ef"),
        ("?bcd", "?defg", "efg"),
        ("abab", "?abc", "c"),
        ("ab", "?xyz", "xyz"),
        ("ab", "", ""),
    ],
)
def test_of_a_log_only_the_lines_that_are_new_are_printed(before: str, now: str, news: str) -> None:
    """Letters are lines; of a long log the end is told, and its first line (`?`) may be cut."""
    assert list(later(list(before), list(now))) == list(news)


def test_what_is_wrong_is_told_once() -> None:
    flaws = [{"pointer": "/cron", "detail": "bad minute"}, {"pointer": "", "detail": "no"}]
    one = {"title": "Unprocessable", "detail": "/cron: bad minute", "errors": flaws[:1]}
    assert in_words(one, "422") == "Unprocessable: /cron: bad minute"
    two = {"title": "Unprocessable", "detail": "/cron: bad minute; /: no", "errors": flaws}
    assert in_words(two, "422") == (
        "Unprocessable: 2 things are wrong\n  /cron: bad minute\n  /: no"
    )
    more = {"title": "Conflict", "detail": "it is taken", "errors": flaws[:1]}
    assert in_words(more, "409") == "Conflict: it is taken\n  /cron: bad minute"
    assert in_words({}, "500 Oops") == "500 Oops"


@pytest.mark.parametrize("verb", ["cancel", "retry", "delete"])
def test_many_are_not_changed_where_nobody_can_be_asked(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    monkeypatch.setenv("DUEQ_URL", "http://127.0.0.1:9")
    call = {"all": True, "dry_run": False, "limit": 1}
    with pytest.raises(CommandFailed, match="--yes") as refused:
        many.apply(verb, None, {}, call, sure=False, output=Format.JSON, columns=())
    assert refused.value.code is Exit.USAGE
