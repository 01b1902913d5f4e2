"""Jobs of every sort but http as their pages in the docs show them, through a whole system."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.pages import blocks, page, printed
from tests.e2e.programs import require
from tests.e2e.running import Up, clean_environment, up

COMMANDS, TASKS, AMQP = (page(name) for name in ("commands", "tasks", "amqp-jobs"))
JOBS = page("jobs")


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """With the tasks and the secrets of the pages."""
    require("curl")
    folder: Path = tmp_path_factory.mktemp("pages")
    (folder / "reports.py").write_text(blocks(TASKS, "python")[0])
    secrets = dict(re.findall(r"^export (DUEQ_SECRET_\w+)=(\S+)$", COMMANDS, re.MULTILINE))
    secrets |= {"DUEQ_SECRETS_DIR": str(folder / "secrets")}
    with up(folder, "--import", "reports", **secrets) as running:
        yield running


def test_every_line_of_the_page_on_jobs_works(documented: Up) -> None:
    text = printed("\n".join(blocks(JOBS, "sh")), documented.folder)
    assert text.count("succeeded") == 2
    first, second = re.findall(r"^[0-9a-f-]{36}$", text, re.MULTILINE)[:2]
    assert first == second
    assert "exit code 2" in text
    assert re.search(r"^workers +1$", text, re.MULTILINE)


def test_every_line_of_the_page_on_commands_works(documented: Up) -> None:
    text = printed("\n".join(blocks(COMMANDS, "sh")), documented.folder)
    assert text.count("succeeded") >= 3
    assert re.search(r"\nstep 1\nstep 2\n(step [3-8]\n)*$", text)
    assert "let-me-in" not in text


def test_every_line_of_the_page_on_tasks_works(documented: Up) -> None:
    text = printed("\n".join(blocks(TASKS, "sh")), documented.folder)
    assert text.count("succeeded") >= 3
    assert "bad_payload" in text
    assert "exit code 6" in text
    assert re.search(r'progress +{"fraction": 0\.\d+, "note": "page \d"}', text)
    assert re.search(r"page \d of 8\n$", text)


def test_every_line_of_the_page_on_amqp_jobs_works(documented: Up) -> None:
    require("amqp-publish")
    text = printed("\n".join(blocks(AMQP, "sh")), documented.folder)
    assert text.count("succeeded") == 2
    assert text.count("exit code 6") == 2


def test_the_tests_of_the_page_on_tasks_pass(documented: Up) -> None:
    (documented.folder / "test_reports.py").write_text(blocks(TASKS, "python")[1])
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_reports.py"],
        cwd=documented.folder, env=clean_environment(), capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout
