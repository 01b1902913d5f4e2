"""How long a test of this folder may take; in the long form what `--timeout` says."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SECONDS = 300


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if item.path.is_relative_to(FOLDER):
                item.add_marker(pytest.mark.timeout(SECONDS))
