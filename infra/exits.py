"""How a command ends: one number a reason, the same for every command."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes that scripts may rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    JOB_FAILED = 6
    WAIT_TIMED_OUT = 7


class CommandFailed(Exception):
    """Ends the command: the text goes to stderr, the code to the shell."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code
