"""A stranger who believes the description: no 5xx, no answer that the description does not name.

There are no workers: what is made up here is accepted, and never run.
"""

import subprocess
import sys
from collections.abc import Sequence
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
AFTER_OTHERS = ("use_after_free", "ensure_resource_availability")
"""What only a chain of requests can show: what was deleted is gone, what was made is there."""
EXAMPLES, CHAINED_EXAMPLES = 5, 100
"""Of each operation, beside those of each rule that the description names; and chains."""
PATIENCE = 60
"""Seconds for one answer: a call on many jobs may take 20."""
EXECUTABLE = Path(sys.executable).with_name("schemathesis")


@pytest.mark.timeout(600)
def test_whoever_believes_the_description_meets_nothing_that_it_does_not_name(
    tmp_path: Path,
) -> None:
    with up(tmp_path, "--workers", "0") as running:
        alone = explore(running.http, tmp_path, EXAMPLES, "coverage,fuzzing", CHECKS)
        assert alone.returncode == 0, alone.stdout[-8000:] + alone.stderr
        chained = explore(
            running.http, tmp_path, CHAINED_EXAMPLES, "stateful", CHECKS + AFTER_OTHERS
        )
    assert chained.returncode == 0, chained.stdout[-8000:] + chained.stderr
    assert "Stateful (in" in chained.stdout


def explore(
    url: str, folder: Path, examples: int, phases: str, checks: Sequence[str]
) -> "subprocess.CompletedProcess[str]":
    """Good and bad requests to every operation; those that could wait are told not to.

    Alone, or in chains (`stateful`): one after the other, with the ids that came back. As many on a
    slow machine as on a fast one: a bound in seconds would also end what has begun.
    """
    hooks = clean_environment(SCHEMATHESIS_HOOKS="tests.e2e.schemathesis_hooks")
    return subprocess.run(
        [
            EXECUTABLE, "run", f"{url}/openapi.json",
            "--checks", ",".join(checks),
            "--phases", phases,
            "--mode", "all",
            "--seed", "1",
            "--max-examples", str(examples),
            "--request-timeout", str(PATIENCE),
            "--header", "Prefer: wait=0",
            "--generation-database", "none",
            "--no-shrink",
        ],
        cwd=folder, env=hooks | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
