"""One `dueq up` for the session; tests that kill or stop it start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Up, up


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Ready, with the functions below."""
    folder: Path = tmp_path_factory.mktemp("up")
    (folder / "functions.py").write_text(FUNCTIONS)
    with up(folder, "--import", "functions") as running:
        yield running


FUNCTIONS = """
from workers import task


@task("always.fails")
def always_fails(payload, context):
    raise ValueError("this can never work")
"""
