"""A stranger who believes the description: no 5xx, no answer that the description does not name.

There are no workers: what is made up here is accepted, and never run.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, clean_environment, up

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
SECONDS = 30
EXECUTABLE = Path(sys.executable).with_name("schemathesis")


@pytest.mark.timeout(300)
def test_whoever_believes_the_description_meets_nothing_that_it_does_not_name(
    tmp_path: Path,
) -> None:
    with up(tmp_path, "--workers", "0") as running:
        ran = explore(running.http, tmp_path)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr


def explore(url: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Good and bad requests to every operation, but the one that waits for work by design."""
    hooks = clean_environment(SCHEMATHESIS_HOOKS="tests.e2e.schemathesis_hooks")
    return subprocess.run(
        [
            EXECUTABLE, "run", f"{url}/openapi.json",
            "--checks", ",".join(CHECKS),
            "--phases", "coverage,fuzzing",
            "--mode", "all",
            "--seed", "1",
            "--max-examples", "5",
            "--max-time", str(SECONDS),
            "--header", "Prefer: wait=0",
            "--exclude-path", "/api/workers/{worker}/next",
            "--generation-database", "none",
            "--no-shrink",
        ],
        cwd=folder, env=hooks | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=SECONDS * 5, check=False,
    )  # fmt: skip
