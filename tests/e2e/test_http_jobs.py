"""Http jobs as the page in the docs shows them, through a whole system that knows two secrets."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import pages
from tests.e2e.pages import blocks, page
from tests.e2e.programs import require
from tests.e2e.running import up

PAGE = page("http-jobs")
SECRETS = dict(re.findall(r"^export (DUEQ_SECRET_\w+)=(\S+)$", PAGE, re.MULTILINE))


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the lines of the page print."""
    require("curl")
    folder: Path = tmp_path_factory.mktemp("http")
    (folder / "receiver.py").write_text("\n".join(blocks(PAGE, "python")))
    lines = "\n".join(["trap 'kill $RECEIVER 2>/dev/null || true' EXIT", *blocks(PAGE, "sh")])
    with up(folder, **SECRETS) as system:
        text = pages.printed(lines, folder, DUEQ_URL=system.http)
        logs = [path.read_text() for path in folder.glob(".dueq/*/*.log")]
    assert not [word for word in SECRETS.values() if word in "".join(logs)]
    return text


def jobs(printed: str) -> dict[str, dict[str, Any]]:
    """The jobs that were printed when they had ended, by the path of their URL."""
    found = [json.loads(line) for line in printed.splitlines() if line.startswith('{"id"')]
    return {job["http"]["url"].rpartition("/")[2]: job for job in found}


def test_every_line_of_the_page_on_http_jobs_works(printed: str) -> None:
    states = {path: job["status"] for path, job in jobs(printed).items()}
    assert states == {
        "json": "succeeded", "form": "succeeded", "bytes": "succeeded", "a": "succeeded",
        "b": "succeeded", "c": "succeeded", "signed": "succeeded", "moved": "succeeded",
    }  # fmt: skip
    assert "the job failed" in printed
    assert "missing_secret" in printed
    assert printed.count('"status":302') >= 1


def test_what_a_job_was_answered_is_shown_by_its_log_and_by_its_record(printed: str) -> None:
    _, _, shown = printed.partition("\nPOST /kept\n")
    assert shown.splitlines()[:4] == [
        "Authorization: None",
        "DueQ-Attempt: 1",
        "Content-Type: text/plain; charset=utf-8",
        "signature: none",
    ]
    (record,) = (line for line in printed.splitlines() if '"body": "POST /kept' in line)
    assert json.loads(record)["items"][0]["headers"]["Server"]


def test_no_secret_is_shown_by_anything(printed: str) -> None:
    assert {"DUEQ_SECRET_PARTNER", "DUEQ_SECRET_WEBHOOK"} == SECRETS.keys()
    assert not [word for word in SECRETS.values() if word in printed]
    assert '"secret":"PARTNER"' in printed


def test_a_sick_target_stands_on_the_page_of_its_queue(printed: str) -> None:
    queue = json.loads(printed.splitlines()[-1])
    (sick,) = queue["sick_targets"]
    assert (sick["target"], sick["error"]) == ("http://127.0.0.1:9099", "answered 503")
    assert sick["held"] >= 1
