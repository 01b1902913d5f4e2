"""Http jobs as the page in the docs shows them, through a whole system that knows two secrets."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.programs import require
from tests.e2e.running import ROOT, clean_environment, command, up

PAGE = (ROOT / "docs" / "how-to" / "http-jobs.md").read_text()
SECRETS = dict(re.findall(r"^export (DUEQ_SECRET_\w+)=(\S+)$", PAGE, re.MULTILINE))


def blocks(language: str) -> str:
    """The lines of a language, all of them."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the lines of the page print."""
    require("curl")
    folder: Path = tmp_path_factory.mktemp("http")
    (folder / "receiver.py").write_text(blocks("python"))
    dueq = shlex.join(command())
    lines = f"set -e\ntrap 'kill $RECEIVER 2>/dev/null || true' EXIT\ndueq() {{ {dueq} \"$@\"; }}"
    with up(folder, **SECRETS) as system:
        ran = subprocess.run(
            ["bash", "-c", f"{lines}\n{blocks('sh')}"], cwd=folder,
            env=clean_environment(DUEQ_URL=system.http), capture_output=True, text=True,
            timeout=110, check=False,
        )  # fmt: skip
        logs = [path.read_text() for path in folder.glob(".dueq/*/*.log")]
    assert ran.returncode == 0, ran.stderr
    assert not [word for word in SECRETS.values() if word in "".join(logs)]
    return ran.stdout


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


def test_no_secret_is_shown_by_anything(printed: str) -> None:
    assert {"DUEQ_SECRET_PARTNER", "DUEQ_SECRET_WEBHOOK"} == SECRETS.keys()
    assert not [word for word in SECRETS.values() if word in printed]
    assert '"secret":"PARTNER"' in printed


def test_a_sick_target_stands_on_the_page_of_its_queue(printed: str) -> None:
    queue = json.loads(printed.splitlines()[-1])
    (sick,) = queue["sick_targets"]
    assert (sick["target"], sick["error"]) == ("http://127.0.0.1:9099", "answered 503")
    assert sick["held"] >= 1
