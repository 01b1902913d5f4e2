"""Which commands jobs may run on this worker.

The program that was checked is the one that is executed: a name is looked up on the worker's own
PATH, never on the job's, links in the folder are resolved, and the whole path is what is run.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline.domain.command_work import CommandWork, check_allowed

_FREE = "JOB_"
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Of a worker that has none itself."""


class Forbidden(Exception):
    """This worker does not run that."""


class AllowedCommands:
    """Programs by name or path, and folders (with a slash at the end) of programs."""

    def __init__(self, patterns: Sequence[str]) -> None:
        check_allowed(patterns)
        folders = (os.path.realpath(each) for each in patterns if each.endswith("/"))
        self._folders = tuple(os.path.join(folder, "") for folder in folders)  # noqa: PTH118
        self._programs = [each for each in patterns if not each.endswith("/")]

    def check(self, work: CommandWork) -> CommandWork:
        """The work with its program spelt out. Raises `Forbidden`.

        Variables can make any program run any other (LD_PRELOAD, BASH_ENV, GIT_SSH_COMMAND, …),
        and nobody knows them all: a job may set those that begin with `JOB_`.
        """
        for name in work.env:
            if not name.startswith(_FREE):
                raise Forbidden(f"with a list of commands a job may set {_FREE}… only, not {name}")
        program, *words = work.words
        path = _located(program)
        if not path.startswith("/"):
            raise Forbidden(f"{program} is not on the PATH of this worker, and no absolute path")
        if not (path.startswith(self._folders) or path in map(_located, self._programs)):
            raise Forbidden(f"{program} is not among the commands that this worker runs")
        return CommandWork(
            [path, *words], work.env, work.cwd, work.stdin, work.success, work.not_retryable
        )


def _located(program: str) -> str:
    """Its whole path. The folder's links are resolved, so that `..` leads nowhere; the program's
    own is not, since one file may be many programs by its name."""
    if "/" not in program:
        program = shutil.which(program, path=os.environ.get("PATH", DEFAULT_PATH)) or program
    whole = Path(program)
    if not whole.is_absolute():
        return program
    return os.path.join(os.path.realpath(whole.parent), whole.name)  # noqa: PTH118
