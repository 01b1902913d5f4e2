"""The command line of one of several workers."""

import sys

import pytest

from infra.roles.siblings import single

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("flag", [["--processes", "3"], ["--processes=3"]])
def test_a_child_is_told_all_but_how_many_there_are(flag: list[str]) -> None:
    options = ["worker", "--queue", "a:3", *flag, "--concurrency", "3"]
    original = ["python3", "-P", "-m", "infra.cli", *options]
    assert single(original, ["/x/infra/cli/__main__.py", *options]) == (
        sys.executable, "-P", "-m", "infra.cli",
        "worker", "--queue", "a:3", "--concurrency", "3",
    )  # fmt: skip


def test_a_child_of_an_installed_command_is_the_same_command() -> None:
    options = ["worker", "--processes", "2"]
    assert single(["/usr/bin/python3", "/usr/bin/dueq", *options], ["/usr/bin/dueq", *options]) == (
        sys.executable,
        "/usr/bin/dueq",
        "worker",
    )
