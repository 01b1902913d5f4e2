"""The how-to pages, whose lines are run as they stand."""

import re
import shlex
import subprocess
from pathlib import Path

from tests.e2e.running import ROOT, clean_environment, command


def page(name: str) -> str:
    """The text of one."""
    return (ROOT / "docs" / "how-to" / f"{name}.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """What stands there in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def printed(lines: str, folder: Path, **settings: str) -> str:
    """What these lines of shell print; `dueq` is ours, and none of them may fail."""
    dueq = f'dueq() {{ {shlex.join(command())} "$@"; }}'
    ran = subprocess.run(
        ["bash", "-c", f"set -e\n{dueq}\n{lines}"], cwd=folder, env=clean_environment(**settings),
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
