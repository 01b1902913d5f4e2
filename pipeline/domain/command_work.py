"""What a command job asks for: what to run, in which surroundings, and what its exit codes mean.

Asked for as a string (for `/bin/sh -c`), a list of words, or an object with more to say; all three
are one `CommandWork` to whoever runs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    model_validator,
)

from pipeline.domain.secret import HIDDEN, SecretRef
from pipeline.domain.text import Text, Word

RESERVED = "DUEQ_"
"""Variables of ours: who the job is. Nobody else may say that."""


def _is_free(name: str) -> str:
    if name.upper().startswith(RESERVED):
        raise ValueError(f"variables that begin with {RESERVED} are set by the worker")
    return name


def _is_absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must be an absolute path: which folder a worker stands in is its own")
    return path


Argv = Annotated[list[Word], Field(min_length=1, max_length=1000)]
Variable = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"), AfterValidator(_is_free)
]
Folder = Annotated[Text, Field(max_length=4096), AfterValidator(_is_absolute)]
ExitCode = Annotated[int, Strict(), Field(ge=0, le=255)]
ExitCodes = Annotated[list[ExitCode], Field(max_length=256)]


class CommandSpec(BaseModel):
    """A command with its surroundings; one of `argv` (a program and its words) and `shell`.

    `env` is added to the scrubbed environment; its values, and `stdin`, may be named secrets.
    `cwd` is an absolute path on the worker. `success` are the exit codes by which the job
    succeeds, `not_retryable` those after which it is not tried again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    argv: Argv | None = None
    shell: Word | None = None
    env: Annotated[dict[Variable, Text | SecretRef], Field(max_length=100)] = {}
    cwd: Folder | None = None
    stdin: str | SecretRef | None = None
    success: Annotated[ExitCodes, Field(min_length=1)] = [0]
    not_retryable: ExitCodes = []

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.argv is None) == (self.shell is None):
            raise ValueError("a command is one of argv and shell")
        if both := set(self.success) & set(self.not_retryable):
            raise ValueError(f"{min(both)} cannot be in success and in not_retryable")
        if HIDDEN in self.env.values():
            raise ValueError(f"{HIDDEN} is what is shown in place of a value; it is none")
        return self


def _shape(value: object) -> str | None:
    match value:
        case str():
            return "line"
        case list():
            return "words"
        case dict() | CommandSpec():
            return "whole"
        case _:
            return None


Command = Annotated[
    Annotated[Word, Tag("line")]
    | Annotated[Argv, Tag("words")]
    | Annotated[CommandSpec, Tag("whole")],
    Discriminator(
        _shape,
        custom_error_type="command",
        custom_error_message="must be a string, a list of strings or an object",
    ),
]


@dataclass(frozen=True)
class CommandWork:
    """Run a command: a string by `/bin/sh -c`, a list of words as it stands."""

    command: str | list[str]
    env: Mapping[str, str | SecretRef] = field(default_factory=dict)
    cwd: str | None = None
    stdin: str | SecretRef | None = None
    success: Sequence[int] = (0,)
    not_retryable: Sequence[int] = ()

    @property
    def words(self) -> list[str]:
        """What is executed."""
        return ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else self.command


def work_of(command: str | list[str] | CommandSpec) -> CommandWork:
    """What is to be done, however it was asked for."""
    if not isinstance(command, CommandSpec):
        return CommandWork(command)
    what = command.shell if command.argv is None else command.argv
    assert what is not None  # one of them is there
    return CommandWork(
        what, command.env, command.cwd, command.stdin, command.success, command.not_retryable
    )


def check_allowed(patterns: Sequence[str]) -> None:
    """Names of programs, absolute paths, folders with a slash at the end; else `ValueError`.

    A relative path would mean what the folder makes of it that a job chooses.
    """
    for each in patterns:
        if "/" in each and not each.startswith("/"):
            raise ValueError(f"{each!r} is neither a name nor an absolute path")
