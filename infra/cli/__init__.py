"""`dueq`: everything a person types.

Each noun is a module; what it needs is imported when it runs, so that `dueq --help` is there at
once. Data goes to stdout, all else to stderr; the exit codes are in `exits`.
"""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main() -> None:
    """The entry point of the `dueq` command."""
    from infra.cli.streams import open_streams

    open_streams()
    from infra.cli.app import app
    from infra.cli.output import tell
    from infra.exits import CommandFailed, Exit

    try:
        app(args=with_bare_wait(sys.argv[1:]), prog_name="dueq")
    except CommandFailed as failure:
        tell(f"dueq: {failure}")
        sys.exit(failure.code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(Exit.FAILED)


def with_bare_wait(arguments: Sequence[str]) -> list[str]:
    """`--wait` alone waits without end: typer has no options whose value may be left out."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    ours: list[str] = []
    for argument in arguments[:end]:
        if ours and ours[-1] == "--wait" and argument[:1].isdecimal():
            ours[-1] = f"--wait={argument}"  # no other number stands alone
        else:
            ours.append(argument)
    return [*("--wait=inf" if each == "--wait" else each for each in ours), *arguments[end:]]
