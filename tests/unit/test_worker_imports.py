"""`--import`: a module that cannot be imported is said, with the line where it went wrong."""

import sys
from pathlib import Path

import pytest

from infra.exits import CommandFailed, Exit
from infra.roles.worker import Asked, run


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit()\n", "SystemExit:  ({file}, line 2)"),
        ("\n\n1 / 0\n", "ZeroDivisionError: division by zero ({file}, line 3)"),
        (
            "from workers import task\n@task('odd', timeout=-1)\ndef odd(payload, context): ...\n",
            "ValueError: the timeout of task 'odd' is seconds, more than 0: -1 ({file}, line 2)",
        ),
        ("import no_such_module\n", "No module named 'no_such_module' ({file}, line 1)"),
    ],
)
def test_what_goes_wrong_in_a_module_is_said_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    file = tmp_path / "broken_tasks.py"
    file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert _refusal("broken_tasks").endswith(said.format(file=file))
    assert "broken_tasks" not in sys.modules


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("no_such_module", f"'no_such_module'; it is neither in {Path.cwd()} nor installed"),
        ("no_such_module.py", "a module is named without its .py"),
    ],
)
def test_a_module_that_is_not_there_is_said(module: str, said: str) -> None:
    assert _refusal(module).endswith(said)


def _refusal(module: str) -> str:
    with pytest.raises(CommandFailed) as refused:
        run(Asked(queues=("default",), concurrency=1, imports=(module,), allow_commands=False))
    assert refused.value.code is Exit.USAGE
    return str(refused.value)
